/**
 * Cheetah as the command runs it, that answers the bench's questions.
 *
 *     node cheetah-server.js DIRECTORY DEVICE ADDRESS HOST_ADDRESS [--no-NAME ...] [--no-offload]
 */
import { parseArgs } from 'node:util';
import { readSpecialisations, SPECIALISATION_ARGUMENTS } from '../src/cli/specialisations.ts';
import { createCheetah } from '../src/host/create-cheetah.ts';
import { tcpSettingsOf } from '../src/servers/cheetah/specialisations.ts';
import { answerBench } from './control.ts';
import { hostWork, openAgedHost } from './host.ts';

const PORT = 80;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { ...SPECIALISATION_ARGUMENTS, 'no-offload': { type: 'boolean' } },
});
const [directory = '', ...network] = positionals;
const specialisations = readSpecialisations(values);
const host = openAgedHost('cheetah', network, {
  offload: values['no-offload'] !== true,
  tcpSettings: tcpSettingsOf(specialisations),
  pollUs: specialisations.polling ? undefined : 0,
});
const server = createCheetah(host, {
  root: directory,
  port: PORT,
  specialisations,
});
server.start();
host.start();
answerBench({
  work: () => {
    const work = hostWork(host, server.counters.get('requests'));
    return { ...work, copiedBytes: work.copiedBytes + server.counters.get('payloadBytesCopied') };
  },
});
