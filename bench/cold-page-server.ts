/**
 * Cheetah over files that are slow to read, with and without groups of pages.
 *
 *     node cold-page-server.js DIRECTORY on|off READ_MS DEVICE ADDRESS HOST_ADDRESS
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createCheetah } from '../src/host/create-cheetah.ts';
import { DiskFiles, type FileSource, type OpenFile } from '../src/servers/cheetah/disk.ts';
import { answerBench } from './control.ts';
import { hostWork, openAgedHost } from './host.ts';

const PORT = 80;

/** The files of a directory, of which each read takes a disk's time, however many there are at once. */
class SlowFiles extends DiskFiles implements FileSource {
  private readonly readMs: number;

  constructor(root: string, readMs: number) {
    super(root);
    this.readMs = readMs;
  }

  override async open(realPath: string): Promise<OpenFile> {
    const file = await super.open(realPath);
    return {
      identity: () => file.identity(),
      read: async (target, at, length, position) => {
        await delay(this.readMs);
        return file.read(target, at, length, position);
      },
      close: () => file.close(),
    };
  }
}

const [directory = '', grouping, readMs, ...network] = process.argv.slice(2);
const host = openAgedHost('cold-page', network);
const server = createCheetah(host, {
  root: directory,
  port: PORT,
  specialisations: { htmlGrouping: grouping === 'on' },
  source: readMs === '0' ? new DiskFiles(directory) : new SlowFiles(directory, Number(readMs)),
});
server.start();
host.start();
answerBench({ work: () => hostWork(host, server.counters.get('requests')) });
