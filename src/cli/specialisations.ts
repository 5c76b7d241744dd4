/** Cheetah's specialisations on the command line: `--no-NAME` turns one off. */
import { ALL_SPECIALISATIONS, type Specialisations } from '../servers/cheetah/specialisations.ts';

export const SPECIALISATION_ARGUMENTS = {
  'no-merged-cache': { type: 'boolean' },
  'no-precomputed-checksums': { type: 'boolean' },
  'no-packet-merging': { type: 'boolean' },
  'no-header-cache': { type: 'boolean' },
  'no-html-grouping': { type: 'boolean' },
  'no-gso': { type: 'boolean' },
  'no-polling': { type: 'boolean' },
  'no-reuse': { type: 'boolean' },
} as const;

export const SPECIALISATION_HELP = `Specialisations, each on unless it is turned off:

  --no-merged-cache           copy bodies from the file cache into send buffers
  --no-precomputed-checksums  sum what is sent each time, where the device does no checksums
  --no-packet-merging         acknowledge requests at once, send the FIN by itself
  --no-header-cache           write a head for each response
  --no-html-grouping          read a page and what it includes one by one
  --no-gso                    send frames of one segment each
  --no-polling                sleep until a frame arrives
  --no-reuse                  make records of connections and requests anew`;

type SwitchName = keyof typeof SPECIALISATION_ARGUMENTS;

/** The specialisations that are left on. */
export function readSpecialisations(values: { readonly [Name in SwitchName]?: boolean | undefined }): Specialisations {
  const chosen: Record<keyof Specialisations, boolean> = { ...ALL_SPECIALISATIONS };
  for (const name of Object.keys(chosen) as (keyof Specialisations)[]) {
    if (values[switchOf(name)] === true) chosen[name] = false;
  }
  return chosen;
}

function switchOf(name: keyof Specialisations): SwitchName {
  return `no-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}` as SwitchName;
}
