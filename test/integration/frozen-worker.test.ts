/** A process that neither works nor exits. */
import test from 'ava'
import { eventually, exitOf, pidOf, startCli } from '../support/cli.js'
import { assertCounted, jobFile, numbers, openNats, streamOf, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

test('a worker that stays frozen is killed, and another takes its place', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const [job, input, out] = [uniqueName('frozen'), uniqueName('IN'), uniqueName('OUT')]
  await streamOf(nats, input, numbers(300))
  const settings = { JOB: job, IN: input, OUT: out, SUBJECT: job, DELAY_MS: 10, END: 'last' }
  const running = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  const frozen = await pidOf(running, 'counts/0')
  await eventually('a checkpoint', () =>
    running.events().some(({ name }) => name === 'checkpoint-completed'),
  )
  process.kill(frozen, 'SIGSTOP')
  t.is((await exitOf(running)).code, 0)
  const pids = running
    .events()
    .filter(event => event.type === 'process-started' && event.role === 'counts/0')
    .map(({ pid }) => pid)
  t.is(pids.length, 2)
  await assertCounted(t, nats, out, numbers(300))
})
