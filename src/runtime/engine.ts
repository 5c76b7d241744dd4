/** What our programs ask of the engine. A program that embeds the stack decides for itself. */
import { setFlagsFromString } from 'node:v8';

/**
 * The path of a frame goes through every layer, a small function in each; with V8's own budget (920 bytes of bytecode in one
 * optimised function) inlining ends halfway, at some 5% of Cheetah's throughput.
 */
export function inlineAcrossLayers(): void {
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000');
}
