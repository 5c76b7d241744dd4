/** The sections of the evaluation: how each is measured, and what is shown of it. */
import type { Context } from './context.ts';
import type { SectionName } from './options.ts';
import type { Presentation } from './shapes.ts';
import { measureSweep, type SweepData } from './sweep.ts';
import { presentSweep } from './sweep-report.ts';

export interface Section {
  readonly title: string;
  measure(context: Context): Promise<unknown>;
  /** Of what `measure` gave, as it lies in the section's JSON file. */
  present(data: unknown): Presentation;
}

export const SECTIONS: Readonly<Partial<Record<SectionName, Section>>> = {
  sweep: {
    title: 'Cheetah: size sweep',
    measure: measureSweep,
    present: (data) => presentSweep(data as SweepData),
  },
};
