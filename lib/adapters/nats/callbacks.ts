/**
 * Callbacks of ours run inside the client's parser. Whatever they throw there, the client prints to
 * the console and then reads no more from the connection, in silence.
 */

/** Lets a defect crash the process, as invariants demand, instead of silencing the connection. */
export const crash = (thrown: unknown): void => {
  queueMicrotask(() => {
    throw thrown
  })
}
