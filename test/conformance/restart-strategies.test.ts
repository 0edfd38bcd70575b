/** Restart strategies: each as it is seen from outside of a job, in virtual time and on processes. */
import test from 'ava'
import * as codec from 'io-ts'
import { actor, jetstream, job } from '../../lib/index.js'
import type { RestartOptions } from '../../lib/job/settings.js'
import { exitOf, notesOf, runCli, startCli } from '../support/cli.js'
import { jobFile, uniqueName } from '../support/jobs.js'
import { coordinatorRole, JobWorld } from '../support/memory-job.js'
import { sharedServers } from '../support/servers.js'

const reason = 'the fuse has blown'

interface Fuse {
  /** So many records are thrown at. */
  blows: number
}

/** A job that reads what comes for ever, in one subtask, and throws when its fuse says so. */
const fusedJob = (fuse: Fuse, restart?: RestartOptions, isCheckpointed = true) => {
  const blow = actor({
    name: 'blow',
    accepts: codec.number,
    emits: codec.number,
    receive: (ctx, n) => {
      if (fuse.blows > 0) {
        fuse.blows -= 1
        throw new Error(reason)
      }
      ctx.emit(n)
    },
  })
  const plain = job('fused')
    .from(jetstream.source({ id: 'numbers', stream: 'IN', accepts: codec.number }))
    .to(blow)
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
  const checkpointed = isCheckpointed ? plain.checkpoint({ intervalMs: 100 }) : plain
  return restart === undefined ? checkpointed : checkpointed.restart(restart)
}

/** The job in virtual time, and what is done to it. */
class FusedWorld {
  readonly fuse: Fuse
  readonly world: JobWorld
  #published = 0

  constructor(restart?: RestartOptions, blows = 0, isCheckpointed = true) {
    this.fuse = { blows }
    this.world = new JobWorld({ job: fusedJob(this.fuse, restart, isCheckpointed) })
    this.world.broker.create({ name: 'IN', subjects: ['in'], storage: 'file' })
    this.publish()
    this.world.start()
  }

  publish(): void {
    this.#published += 1
    this.world.broker.publish('in', new TextEncoder().encode(String(this.#published)), {})
  }

  /** Delays after each failure; undefined: none follows, the job has failed. */
  delays(): readonly (number | undefined)[] {
    return this.world.notes.flatMap(note => (note.type === 'failed' ? [note.delayMs] : []))
  }

  /** Lets the next record blow the fuse, and waits for what comes of it. */
  async blow(): Promise<void> {
    const before = this.delays().length
    this.fuse.blows += 1
    this.publish()
    await this.world.time.run('a failure', () => this.delays().length > before)
  }

  running(): number {
    return this.world.notes.filter(note => note.type === 'running').length
  }

  /** Lets the job run again, and then for so long. */
  async runFor(ms: number): Promise<void> {
    const generations = this.delays().length + 1
    await this.world.time.run('it runs again', () => this.running() >= generations)
    await this.world.time.pass(ms)
  }
}

test('none: the first failure is final, and its reason is the operator’s', async t => {
  const fused = new FusedWorld({ type: 'none' }, 1)
  const outcome = await fused.world.untilEnded()
  t.is(outcome.status, 'failed')
  t.regex(outcome.reason ?? '', /the fuse has blown/)
  t.deepEqual(fused.delays(), [undefined])
})

test('fixed-delay: exactly `attempts` restarts after the same delay, then the job fails', async t => {
  const restart = { type: 'fixed-delay', attempts: 3, delayMs: 700 } as const
  const fused = new FusedWorld(restart, Number.POSITIVE_INFINITY)
  const outcome = await fused.world.untilEnded()
  t.deepEqual(fused.delays(), [700, 700, 700, undefined])
  t.is(outcome.status, 'failed')
  t.regex(outcome.reason ?? '', /the fuse has blown/)
})

test('fixed-delay: failures count for the job’s life, however long ago', async t => {
  const fused = new FusedWorld({ type: 'fixed-delay', attempts: 2, delayMs: 50 })
  for (let failure = 0; failure < 2; failure += 1) {
    await fused.blow()
    await fused.runFor(60_000)
  }
  await fused.blow()
  t.deepEqual(fused.delays(), [50, 50, undefined])
  t.is((await fused.world.untilEnded()).status, 'failed')
})

test('fixed-delay: the restart takes place no sooner than its delay', async t => {
  const fused = new FusedWorld({ type: 'fixed-delay', attempts: 1, delayMs: 5_000 }, 1)
  const { world } = fused
  await world.time.run('the failure', () => fused.delays().length === 1)
  const failedAt = world.time.now
  await world.time.run('the restart', () => world.told.some(line => /^generation 2/.test(line)))
  t.true(world.time.now - failedAt >= 5_000)
  t.true(world.time.now - failedAt < 6_000)
})

test('failure-rate: more than maxFailures within perMs end the job', async t => {
  const restart = { type: 'failure-rate', maxFailures: 3, perMs: 60_000, delayMs: 200 } as const
  const fused = new FusedWorld(restart, Number.POSITIVE_INFINITY)
  const outcome = await fused.world.untilEnded()
  t.deepEqual(fused.delays(), [200, 200, 200, undefined])
  t.is(outcome.status, 'failed')
  t.regex(outcome.reason ?? '', /the fuse has blown/)
})

test('failure-rate: failures that are rarer are forgotten', async t => {
  const fused = new FusedWorld({ type: 'failure-rate', maxFailures: 1, perMs: 9_000, delayMs: 10 })
  for (let failure = 0; failure < 5; failure += 1) {
    await fused.blow()
    await fused.runFor(10_000)
  }
  t.deepEqual(fused.delays(), [10, 10, 10, 10, 10])
  // The sixth is the second within nine seconds.
  await fused.blow()
  await fused.runFor(5_000)
  await fused.blow()
  t.deepEqual(fused.delays().slice(5), [10, undefined])
})

const growing = {
  type: 'exponential-delay',
  initialMs: 100,
  maxMs: 800,
  multiplier: 2,
  jitter: 0,
  resetAfterMs: 30_000,
} as const

test('exponential-delay: delays grow up to the longest, without end', async t => {
  const fused = new FusedWorld(growing, 7)
  await fused.world.time.run('seven failures', () => fused.delays().length === 7)
  t.deepEqual(fused.delays(), [100, 200, 400, 800, 800, 800, 800])
  await fused.runFor(1_000)
  t.is(fused.world.outcome, undefined)
})

test('exponential-delay: more failures than `attempts` end the job', async t => {
  const fused = new FusedWorld({ ...growing, attempts: 2 }, Number.POSITIVE_INFINITY)
  t.is((await fused.world.untilEnded()).status, 'failed')
  t.deepEqual(fused.delays(), [100, 200, undefined])
})

test('exponential-delay: a job that ran for resetAfterMs without a failure starts anew', async t => {
  const fused = new FusedWorld({ ...growing, attempts: 2 })
  await fused.blow()
  await fused.runFor(25_000)
  await fused.blow()
  t.deepEqual(fused.delays(), [100, 200])
  await fused.runFor(30_000)
  await fused.blow()
  t.deepEqual(fused.delays(), [100, 200, 100])
})

test('exponential-delay: what fails while a restart is awaited belongs to the same failure', async t => {
  const fused = new FusedWorld({ ...growing, initialMs: 800 })
  await fused.blow()
  const { world } = fused
  world.kill('numbers/0')
  await fused.runFor(0)
  t.is(world.notes.filter(note => note.type === 'failed').length, 1)
  await fused.blow()
  t.deepEqual(fused.delays(), [800, 800])
  t.is(world.outcome, undefined)
})

test('a job with checkpoints that says nothing restarts after growing delays with jitter', async t => {
  const fused = new FusedWorld(undefined, 4)
  await fused.world.time.run('four failures', () => fused.delays().length === 4)
  for (const [attempt, delay = 0] of fused.delays().entries()) {
    const plain = 1_000 * 1.5 ** attempt
    t.true(delay >= Math.max(1_000, Math.floor(plain * 0.9)) && delay <= Math.ceil(plain * 1.1))
  }
})

test('a job without checkpoints that says nothing fails at once', async t => {
  const fused = new FusedWorld(undefined, 1, false)
  t.is((await fused.world.untilEnded()).status, 'failed')
  t.deepEqual(fused.delays(), [undefined])
})

test('a job without checkpoints that asks for restarts gets them', async t => {
  const fused = new FusedWorld({ type: 'fixed-delay', attempts: 1, delayMs: 50 }, 1, false)
  await fused.runFor(2_000)
  t.deepEqual(fused.delays(), [50])
})

test('a coordinator that takes over counts from nothing', async t => {
  const fused = new FusedWorld({ type: 'fixed-delay', attempts: 1, delayMs: 50 })
  await fused.blow()
  await fused.runFor(1_000)
  fused.world.kill(coordinatorRole)
  const before = fused.running()
  await fused.world.time.run('the next one', () => fused.running() > before)
  await fused.blow()
  t.deepEqual(fused.delays(), [50, 50])
})

test.before('start the servers', async () => {
  await sharedServers()
})

for (const [name, restart, restarts] of [
  ['none', { type: 'none' }, 0],
  ['fixed-delay', { type: 'fixed-delay', attempts: 2, delayMs: 50 }, 2],
  ['failure-rate', { type: 'failure-rate', maxFailures: 1, perMs: 600_000, delayMs: 50 }, 1],
  ['exponential-delay', { type: 'exponential-delay', initialMs: 20, maxMs: 100, attempts: 3 }, 3],
] as const) {
  test.serial(
    `${name}: processes of a job that always throws end as failed after ${restarts} restarts`,
    async t => {
      const servers = await sharedServers()
      const settings = { JOB: uniqueName('throwing'), RESTART: JSON.stringify(restart) }
      const cli = startCli(t, ['up', jobFile('throwing'), '--json'], { servers, settings })
      const { code, stdout } = await exitOf(cli)
      t.is(code, 1)
      t.is(notesOf(cli, 'failed').length, restarts + 1)
      t.is(notesOf(cli, 'generation-begun').length, restarts + 1)
      const last: unknown = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
      t.like(last, { type: 'error' })
      t.regex(JSON.stringify(last), /failed: .*the fuse has blown/)
      const status = await runCli(t, ['status', settings.JOB], { servers })
      t.regex(status.stdout, /failed \(.*the fuse has blown/)
    },
  )
}
