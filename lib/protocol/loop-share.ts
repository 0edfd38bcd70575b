/**
 * How the head of a loop divides its time between what comes back and what is new.
 *
 * What comes back is in the head's memory already, so that it must drain; what is new adds to it. But a
 * loop may be busy with itself for as long as it likes, and behind what is new come the barriers. So each
 * gets its turn, and the share of what is new falls by half with every window of bytes that waits to go
 * round: a loop whose records stay for `n` rounds settles where about `log2(n)` windows wait.
 *
 * Invariants
 *   LP1. The wait of what is new is bounded, whatever the loop holds.
 *   LP2. Below one window both take turns; more that waits never makes the share of what is new larger.
 */

/** Beyond it what is new would be waiting for longer than anybody looks. */
const doublingsMax = 20

/** Frames that have come back and go before one that is new, while so many bytes wait to go round. */
export const framesBeforeNew = (waitingBytes: number, windowBytes: number): number =>
  2 ** Math.min(doublingsMax, Math.floor(waitingBytes / windowBytes))
