/**
 * When records were seen: counted where they are processed, in the process that does it, so that a
 * rate holds nothing of starting and stopping.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import * as t from 'io-ts'

/** Moments noted by one process: the first line of a file, the last one, and the records between. */
const Mark = t.type({ seen: t.number, at: t.number })

/** Counts; notes in a file when `from` and when `to` records had been seen. */
export const meter = (file: string, from: number, to: number): (() => void) => {
  let seen = 0
  return () => {
    seen += 1
    if (seen !== from && seen !== to) return
    const at = performance.timeOrigin + performance.now()
    appendFileSync(file, `${JSON.stringify({ seen, at })}\n`)
  }
}

/** Records per second between the two moments that a meter noted. */
export const rateOf = (file: string): number => {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  const marks = lines.map(line => JSON.parse(line)).filter(Mark.is)
  const [first, last] = marks
  if (marks.length !== 2 || first === undefined || last === undefined) {
    throw new Error(`${file} does not hold two moments but: ${lines.join(' ')}`)
  }
  return ((last.seen - first.seen) * 1_000) / (last.at - first.at)
}
