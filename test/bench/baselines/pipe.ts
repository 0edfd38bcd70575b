/**
 * The bare pipe: what both ends of it agree upon. Frames of records go through a stream in memory;
 * nothing is kept that a crash would ask for.
 */
import { numberOf, textOf } from '../parameters.js'

export const pipe = {
  stream: textOf('BENCH_STREAM'),
  subject: textOf('BENCH_STREAM').toLowerCase(),
  /** What the reader has taken, told to the writer. */
  credit: `${textOf('BENCH_STREAM').toLowerCase()}-credit`,
  records: numberOf('BENCH_RECORDS'),
  keys: numberOf('BENCH_KEYS'),
} as const

export const frameRecords = 512
/** Frames that may be on their way. */
export const framesAhead = 256
/** The reader tells what it has taken, and lets go of it, every so many frames. */
export const creditEvery = 32
