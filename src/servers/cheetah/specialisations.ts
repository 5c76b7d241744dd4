/**
 * Cheetah's specialisations: what it does differently from a conventional server, each of which can be turned off to
 * see what it is worth. The bytes that a client gets are the same either way.
 */
import type { TcpSettings } from '../../tcp/settings.ts';

export interface Specialisations {
  /** Bodies are sent, and sent again, from where they lie in the file cache; off: copied into a send buffer first. */
  readonly mergedCache: boolean;
  /** Where the device does no checksums, those of file contents and heads are put together from sums made beforehand. */
  readonly precomputedChecksums: boolean;
  /** A request's acknowledgment rides on its answer, and the FIN on the last of it. */
  readonly packetMerging: boolean;
  /** Heads are written once a second and not once a response. */
  readonly headerCache: boolean;
  /** A page and what it includes are read from disk together. */
  readonly htmlGrouping: boolean;
  /** Super-frames, where the device cuts them. */
  readonly gso: boolean;
  /** A busy server looks for frames instead of sleeping until it is woken. */
  readonly polling: boolean;
  /** Records of connections and requests are used again. */
  readonly reuse: boolean;
}

export const ALL_SPECIALISATIONS: Specialisations = {
  mergedCache: true,
  precomputedChecksums: true,
  packetMerging: true,
  headerCache: true,
  htmlGrouping: true,
  gso: true,
  polling: true,
  reuse: true,
};

/** What of them is TCP's to do. */
export function tcpSettingsOf(specialisations: Specialisations): Partial<TcpSettings> {
  const { packetMerging, gso, reuse } = specialisations;
  return { packetMerging, superFrames: gso, reuseRecords: reuse };
}
