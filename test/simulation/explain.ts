/** One seed, told event by event, and shrunk if it breaks a promise. */
import { describeFault } from './faults.js'
import { forbidRealTime, takeUses } from './forbidden.js'
import { drawShape } from './random-job.js'
import { runSeed } from './seed.js'
import { shrunk } from './shrink.js'

const linesMax = 400

/** Tells a seed; answers the exit code. */
export const explain = async (seed: number): Promise<number> => {
  forbidRealTime()
  const first = await runSeed({ seed }, new Map())
  const [use] = takeUses()
  if (use !== undefined) {
    console.log(`I14: seed ${seed} used something real: ${use}`)
    return 1
  }
  if (first.violations.length === 0) {
    await runSeed({ seed }, new Map(), line => console.log(line))
    console.log(
      `seed ${seed}: no violation, ${first.events} events, fingerprint ${first.hash.toString(16)}`,
    )
    return 0
  }
  const small = await shrunk(seed)
  const lines: string[] = []
  const { violations } = await runSeed(small, new Map(), line => lines.push(line))
  if (lines.length > linesMax) console.log(`… ${lines.length - linesMax} lines before`)
  for (const line of lines.slice(-linesMax)) console.log(line)
  console.log(`seed ${seed}, with ${small.faults.length} faults:`)
  for (const fault of small.faults) console.log(`  ${describeFault(fault)}`)
  for (const { rule, facts, atMs } of violations)
    console.log(`${rule} at ${atMs.toFixed(3)} ms: ${facts}`)
  const regression = {
    why: violations[0]?.facts ?? '',
    seed,
    shape: drawShape(seed),
    faults: small.faults,
  }
  console.log(`as a regression: ${JSON.stringify(regression)}`)
  return 1
}
