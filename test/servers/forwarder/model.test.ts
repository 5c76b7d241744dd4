/**
 * The flow table against a model: clients, backends and time do what they like in any order, and after every step the table,
 * the index, the ports and the backends' counts are what a plain list of flows says.
 */
import test from 'ava';
import fc from 'fast-check';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../../src/wire/tcp.ts';
import { BACKENDS, ForwardRig, SECOND } from './rig.ts';

const MAX_FLOWS = 4;
const CLIENTS = 7;
const LINGER_SECONDS = 60;
const RESET_SECONDS = 10;

type Step =
  | { readonly kind: 'open' | 'finish' | 'reset' | 'talk'; readonly client: number }
  | { readonly kind: 'wait'; readonly seconds: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('open' as const, 'finish' as const, 'reset' as const, 'talk' as const),
    client: fc.integer({ min: 0, max: CLIENTS - 1 }),
  }),
  fc.record({ kind: fc.constant('wait' as const), seconds: fc.constantFrom(1, 11, 61) }),
);

interface ModelFlow {
  readonly client: number;
  readonly backend: number;
  readonly port: number;
  /** Seconds that it still lingers, once it is over. */
  lingers: number;
  ended: boolean;
  endedAt: number;
}

/** Runs the steps against both; throws where they differ. */
class Comparison {
  readonly rig = new ForwardRig({ backends: 2, limits: { maxFlows: MAX_FLOWS } });
  private flows: ModelFlow[] = [];
  private ends = 0;

  run({ kind, ...rest }: Step): void {
    if (kind === 'wait') this.wait((rest as { seconds: number }).seconds);
    else this.act(kind, (rest as { client: number }).client);
    this.compare();
  }

  private act(kind: 'open' | 'finish' | 'reset' | 'talk', client: number): void {
    const flow = this.flows.find((one) => one.client === client);
    const sourcePort = 40_000 + client;
    if (kind === 'open') {
      this.open(client, flow);
    } else if (flow === undefined) {
      const passed = this.rig.fromClient({ sourcePort, flags: TCP_ACK, seq: 101, ack: 201 });
      if (passed.length !== 0) throw new Error('a segment of no flow has passed');
    } else if (kind === 'talk') {
      this.expect(this.rig.fromClient({ sourcePort, flags: TCP_ACK, seq: 101, ack: 201 }).length === 1, 'passes');
    } else if (kind === 'reset') {
      this.expect(this.rig.fromClient({ sourcePort, flags: TCP_RST, seq: 101 }).length === 1, 'a reset passes');
      this.end(flow, RESET_SECONDS);
    } else {
      this.finish(flow, sourcePort);
    }
  }

  private open(client: number, flow: ModelFlow | undefined): void {
    const sourcePort = 40_000 + client;
    const [syn] = this.rig.fromClient({ sourcePort, flags: TCP_SYN, seq: 100 });
    if (flow !== undefined && !flow.ended) {
      this.expect(syn?.target === flow.backend && syn.sourcePort === flow.port, 'a SYN again goes where it went');
      return;
    }
    const others = this.flows.filter((one) => one !== flow);
    if (others.length === MAX_FLOWS && others.every(({ ended }) => !ended)) {
      this.flows = others;
      this.expect(syn === undefined, 'a full table refuses');
      return;
    }
    if (others.length === MAX_FLOWS) {
      const oldest = others.filter(({ ended }) => ended).sort((a, b) => a.endedAt - b.endedAt)[0] as ModelFlow;
      others.splice(others.indexOf(oldest), 1);
    }
    if (syn === undefined) throw new Error('a SYN that there is room for was refused');
    const opened = { client, backend: syn.target, port: syn.sourcePort, lingers: 0, ended: false, endedAt: 0 };
    this.flows = [...others, opened];
    const back = { source: syn.target, targetPort: syn.sourcePort };
    this.rig.fromBackend({ ...back, flags: TCP_SYN | TCP_ACK, seq: 200, ack: 101 });
    this.rig.fromClient({ sourcePort, flags: TCP_ACK, seq: 101, ack: 201 });
  }

  private finish(flow: ModelFlow, sourcePort: number): void {
    const back = { source: flow.backend, targetPort: flow.port };
    this.rig.fromClient({ sourcePort, flags: TCP_FIN | TCP_ACK, seq: 101, ack: 201 });
    this.rig.fromBackend({ ...back, flags: TCP_FIN | TCP_ACK, seq: 201, ack: 102 });
    this.rig.fromClient({ sourcePort, flags: TCP_ACK, seq: 102, ack: 202 });
    this.end(flow, LINGER_SECONDS);
  }

  private end(flow: ModelFlow, lingers: number): void {
    if (flow.ended) return;
    flow.ended = true;
    flow.lingers = lingers;
    flow.endedAt = ++this.ends;
  }

  private wait(seconds: number): void {
    this.rig.advance(seconds * SECOND);
    for (const flow of this.flows) if (flow.ended) flow.lingers -= seconds;
    // The wheel is a tick late at most, and no step is that short; whatever was used meanwhile may stay longer.
    const { table } = this.rig.forwarder.flows;
    this.flows = this.flows.filter((flow) => !flow.ended || flow.lingers > 0 || isKnown(this.rig, flow));
    this.expect(table.live === this.flows.length, 'flows are forgotten in time');
  }

  private compare(): void {
    const { table, index } = this.rig.forwarder.flows;
    const living = this.flows.filter(({ ended }) => !ended);
    this.expect(table.live === this.flows.length, `${table.live} flows, not ${this.flows.length}`);
    this.expect(table.living === living.length, `${table.living} living, not ${living.length}`);
    this.expect(index.size === 2 * this.flows.length, 'two entries a flow');
    const ports = new Set(this.flows.map(({ backend, port }) => `${backend} ${port}`));
    this.expect(ports.size === this.flows.length, 'every flow has a port of its own');
    for (const [number, backend] of (this.rig.forwarder.services[0]?.backends ?? []).entries()) {
      const expected = living.filter((flow) => flow.backend === BACKENDS[number]).length;
      this.expect(backend.living === expected, `backend ${number} has ${backend.living} flows, not ${expected}`);
    }
    this.expect(this.rig.heldSlots() === 0, 'slots are given back');
  }

  private expect(holds: boolean, what: string): void {
    if (!holds) throw new Error(what);
  }
}

/** Whether the forwarder still knows a flow: a segment of it, which refreshes it, would pass. */
function isKnown(rig: ForwardRig, flow: ModelFlow): boolean {
  const { table } = rig.forwarder.flows;
  for (let half = 0; half < 2 * MAX_FLOWS; half += 2) {
    if (table.state[half / 2] !== 0 && (table.keyPorts[half] as number) >>> 16 === 40_000 + flow.client) return true;
  }
  return false;
}

test('any order of openings, ends and pauses', (t) => {
  t.timeout(110_000);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const comparison = new Comparison();
      for (const one of steps) comparison.run(one);
      comparison.rig.close();
    }),
    { numRuns: 60 },
  );
  t.pass();
});
