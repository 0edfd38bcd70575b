/** A server that is killed and comes back on its folder: the job recovers by itself, with exact output. */
import test from 'ava'
import type { ServerName } from '../../lib/adapters/servers/options.js'
import { type Cli, eventually, exitOf, notesOf, startCli, untilNoted } from '../support/cli.js'
import { assertCounted, jobFile, numbers, openNats, uniqueName } from '../support/jobs.js'
import { done, withServers } from '../support/servers.js'

interface Outage {
  readonly server: ServerName
  /** What is said when the server goes. */
  readonly lost: RegExp
  /** A note that comes, so many times, once the outage outlasts heartbeats or the coordinator's lease. */
  readonly outlasted: readonly [string, number]
}

const outages: readonly Outage[] = [
  { server: 'nats', lost: /connection to NATS is lost/, outlasted: ['worker-lost', 1] },
  { server: 'redis', lost: /Redis at .* cannot be reached/, outlasted: ['store-trouble', 5] },
]

const hasSaid = (cli: Cli, text: RegExp): boolean =>
  cli.events().some(event => event.type === 'trouble' && text.test(String(event.text)))

const countOf = (cli: Cli, note: string): number => notesOf(cli, note).length

for (const { server, lost, outlasted } of outages) {
  test.serial(
    `${server} is killed for a moment, then for longer than heartbeats and leases last`,
    async t => {
      const servers = await withServers(t)
      const nats = await openNats(t, servers.natsUrl)
      const [job, out] = [uniqueName('crash'), uniqueName('OUT')]
      const records = numbers(6_000)
      const settings = { JOB: job, OUT: out, SUBJECT: job, COUNT: records.length, DELAY_MS: 2 }
      const up = startCli(t, ['up', jobFile('bulk'), '--json'], { servers, settings })

      await untilNoted(up, 'checkpoint-completed')
      await done(servers.kill(server))
      await eventually(`the loss of ${server} is told`, () => hasSaid(up, lost))
      await done(servers.start(server))

      await untilNoted(up, 'checkpoint-completed', countOf(up, 'checkpoint-completed') + 1)
      await done(servers.kill(server))
      const [note, times] = outlasted
      await untilNoted(up, note, countOf(up, note) + times)
      await done(servers.start(server))

      t.is((await exitOf(up)).code, 0)
      await assertCounted(t, nats, out, records)
      t.log(`${countOf(up, 'generation-begun')} generations`)
    },
  )
}
