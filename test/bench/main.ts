/**
 * `npm run bench`: how fast it is, against what users would build by hand, measured in the same run.
 *
 * Every figure is a ratio: absolute ones say more of the machine and of who else uses it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { startServers } from 'sluice/actors'
import type { Bench } from './bench.js'
import { type Bar, type Figure, holds, rounded } from './figures.js'
import { connectNats } from './stage.js'
import { suite } from './suite.js'

interface Options {
  readonly only: readonly string[] | undefined
  readonly quick: boolean
  readonly json: string | undefined
}

const chosen = (only: readonly string[] | undefined): readonly Bench[] => {
  const unknown = only?.find(name => !suite.some(bench => bench.name === name))
  if (unknown === undefined) return suite.filter(({ name }) => only?.includes(name) ?? true)
  const names = suite.map(({ name }) => name).join(', ')
  throw new Error(`There is no benchmark '${unknown}'. There are: ${names}.`)
}

const describeMachine = (): string => {
  const model = cpus()[0]?.model ?? 'unknown processor'
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${availableParallelism()} × ${model}, ${memory} GiB, ${process.platform} ${release()}, Node ${process.version}`
}

const describeBar = (bar: Bar): string =>
  'atLeast' in bar ? `≥ ${bar.atLeast}` : `≤ ${bar.atMost}`

const describe = (figure: Figure): string => {
  const { name, unit, value, baseline, baselineValue, ratio, bar, pairs } = figure
  const [low, high] = [Math.min(...pairs), Math.max(...pairs)].map(rounded)
  const verdict = holds(figure) ? 'holds' : 'MISSED'
  return `${name}: ${rounded(ratio)} (pairs ${low} to ${high}), bar ${describeBar(bar)}: ${verdict} · ${rounded(value)} ${unit} against ${rounded(baselineValue)} (${baseline})`
}

const runSuite = async ({ only, quick, json }: Options): Promise<void> => {
  const say = (text: string): void => console.log(text)
  const benches = chosen(only)
  say(describeMachine())
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const figures: Figure[] = []
  try {
    for (const [k, bench] of benches.entries()) {
      say(`${k + 1} of ${benches.length}: ${bench.name}: ${bench.what}`)
      // Servers of its own for each: what one benchmark leaves behind must not slow the next.
      const servers = await startServers()
      const { natsUrl, redisUrl } = servers
      const nats = await connectNats(natsUrl)
      try {
        const stage = {
          natsUrl,
          redisUrl,
          nats,
          folder,
          quick,
          say: (text: string) => say(`  ${text}`),
        }
        for (const figure of await bench.run(stage)) {
          figures.push(figure)
          say(`  ${describe(figure)}`)
        }
      } finally {
        await nats.close()
        await servers.stop()
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  for (const figure of figures) say(describe(figure))
  if (json !== undefined) await writeFile(json, `${JSON.stringify(figures, null, 2)}\n`)
  const missed = figures.filter(figure => !holds(figure)).length
  say(
    `${figures.length - missed} of ${figures.length} bars hold${quick ? ' (quick: no measurement)' : ''}`,
  )
}

const list = (text: string): readonly string[] => text.split(',')

const options = new Command('bench')
  .description('Measures throughput, pauses, latency and memory against baselines of the same run')
  .option('--only <names>', 'these benchmarks only, by name, with commas between', list)
  .option('--quick', 'few records and one round: shows that all of it works', false)
  .option('--json <file>', 'write the figures to a file')
  .parse()
  .opts<Options>()

// As users run it: without the checks of development.
process.env.NODE_ENV = 'production'
await runSuite({ only: options.only, quick: options.quick, json: options.json })
