/** The sections of the evaluation: how each is measured, and what is shown of it. */
import { type AttributionData, measureAttribution } from './attribution.ts';
import { presentAttribution } from './attribution-report.ts';
import type { Context } from './context.ts';
import { type ForwarderData, measureForwarder } from './forwarder.ts';
import { presentForwarder } from './forwarder-report.ts';
import type { SectionName } from './options.ts';
import { measureSemantics, presentSemantics, type SemanticsData } from './semantics.ts';
import type { Presentation } from './shapes.ts';
import { measureSweep, type SweepData } from './sweep.ts';
import { presentSweep } from './sweep-report.ts';
import { measureWebswamp, type WebswampData } from './webswamp.ts';
import { presentWebswamp } from './webswamp-report.ts';

export interface Section {
  readonly title: string;
  measure(context: Context): Promise<unknown>;
  /** Of what `measure` gave, as it lies in the section's JSON file. */
  present(data: unknown): Presentation;
}

export const SECTIONS: Readonly<Record<SectionName, Section>> = {
  sweep: {
    title: 'Cheetah: size sweep',
    measure: measureSweep,
    present: (data) => presentSweep(data as SweepData),
  },
  attribution: {
    title: 'What each specialisation is worth',
    measure: measureAttribution,
    present: (data) => presentAttribution(data as AttributionData),
  },
  webswamp: {
    title: 'webswamp and other load generators',
    measure: measureWebswamp,
    present: (data) => presentWebswamp(data as WebswampData),
  },
  forwarder: {
    title: 'The forwarder and its peers',
    measure: measureForwarder,
    present: (data) => presentForwarder(data as ForwarderData),
  },
  semantics: {
    title: 'Semantics behind a forwarder',
    measure: measureSemantics,
    present: (data) => presentSemantics(data as SemanticsData),
  },
};
