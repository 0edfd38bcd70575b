/** Loops of every form, under kills: all of them end, and every record leaves them once. */
import test from 'ava'
import * as t from 'io-ts'
import { actor, type CheckpointOptions, iterable, jetstream, job } from 'sluice'
import type { Job } from '../../lib/job/graph.js'
import type { Limits } from '../../lib/job/limits.js'
import { JobWorld } from '../support/memory-job.js'
import { prng, seedFromEnvironment } from '../support/prng.js'

const Walk = t.type({ id: t.number, left: t.number, inner: t.number, laps: t.number })
type Walk = t.TypeOf<typeof Walk>

const walks = iterable.source({
  id: 'walks',
  *open(offset) {
    for (let id = offset; id < records; id += 1) yield { id, left: id % 5, inner: 0, laps: 0 }
  },
})
const records = 40

const lap = actor({
  name: 'lap',
  accepts: Walk,
  emits: Walk,
  receive: (ctx, { id, left, inner, laps }) =>
    ctx.emit({ id, left: left - 1, inner, laps: laps + 1 }),
})

const innerLap = actor({
  name: 'inner-lap',
  accepts: Walk,
  emits: Walk,
  receive: (ctx, { inner, laps, ...rest }) =>
    ctx.emit({ ...rest, inner: inner - 1, laps: laps + 1 }),
})

const wind = actor({
  name: 'wind',
  accepts: Walk,
  emits: Walk,
  receive: (ctx, walk) =>
    ctx.emit({ ...walk, left: walk.left - 1, inner: (walk.id + walk.left) % 3 }),
})

const again = ({ left }: Walk): boolean => left > 0
const againInner = ({ inner }: Walk): boolean => inner > 0
const out = jetstream.sink({ id: 'out', subject: 'out' })

/** A form of loops, and the laps that a record of it makes. */
interface Form {
  readonly job: (limits: Partial<Limits>) => Pick<Job, 'graph'> & {
    checkpoint(options: CheckpointOptions): Job
  }
  readonly laps: (id: number) => number
}

const start = (limits: Partial<Limits>) => job('walks', { limits }).from(walks)
const plainLaps = (id: number): number => Math.max(1, id % 5)

const forms: Readonly<Record<string, Form>> = {
  'a loop in one process': {
    job: limits =>
      start(limits)
        .iterate({ id: 'loop', again }, loop => loop.to(lap))
        .into(out),
    laps: plainLaps,
  },
  'a loop of three by three': {
    job: limits =>
      start(limits)
        .iterate({ id: 'loop', again, parallelism: 3 }, loop =>
          loop.keyBy(({ id }) => String(id)).to(lap, { parallelism: 3 }),
        )
        .into(out),
    laps: plainLaps,
  },
  'a loop in a loop': {
    job: limits =>
      start(limits)
        .iterate({ id: 'outer', again }, outer =>
          outer
            .keyBy(({ id }) => String(id))
            .to(wind, { parallelism: 2 })
            .iterate({ id: 'inner', again: againInner, parallelism: 1 }, inner =>
              inner.to(innerLap),
            ),
        )
        .into(out),
    laps: id => {
      let laps = 0
      for (let left = id % 5; ; ) {
        const inner = (id + left) % 3
        laps += Math.max(1, inner)
        left -= 1
        if (left <= 0) return laps
      }
    },
  },
  'a loop behind a loop': {
    job: limits =>
      start(limits)
        .iterate({ id: 'first', again }, loop => loop.to(lap, { parallelism: 2 }))
        .to(wind)
        .iterate({ id: 'second', again: againInner }, loop => loop.to(innerLap, { parallelism: 2 }))
        .into(out),
    laps: id => plainLaps(id) + Math.max(1, (id + Math.min(0, (id % 5) - plainLaps(id))) % 3),
  },
}

const small = { frameBytesMax: 128, channelBytesMax: 256 }

const killed = (form: Form, seed: number): JobWorld => {
  const random = prng(seed)
  const world = new JobWorld({
    job: form.job(small).checkpoint({
      intervalMs: 20,
      timeoutMs: 5_000,
      force: true,
      mode: random.chance(0.8) ? 'exactly-once' : 'at-least-once',
      maxConcurrent: 1 + random.below(3),
      incremental: random.chance(0.5),
      async: random.chance(0.7),
      onCheckpointError: 'decline',
    }),
    seed,
    latencyMs: 0.5 + random.next() * 4,
    readingMs: 0.01,
  })
  const roles = world.plan.subtasks.map(({ id }) => id)
  for (let blows = random.below(4); blows > 0; blows -= 1) {
    const role = roles[random.below(roles.length)] ?? ''
    world.time.after(random.next() * 1_000, () => world.kill(role))
  }
  return world
}

for (const [name, form] of Object.entries(forms)) {
  test(`${name} ends under kills, and every record has made its laps`, async assert => {
    const first = seedFromEnvironment()
    assert.log(`SLUICE_TEST_SEED=${first}`)
    for (let seed = first; seed < first + 12; seed += 1) {
      const world = killed(form, seed)
      world.start()
      const outcome = await world.untilEnded(1_500_000)
      const story = `SLUICE_TEST_SEED=${seed}\n${world.told.join('\n')}`
      assert.is(outcome.status, 'finished', story)
      const left = new Map<number, number>()
      for (const walk of world.published('OUT')) {
        if (!Walk.is(walk)) return assert.fail(JSON.stringify(walk))
        assert.is(walk.laps, form.laps(walk.id), `${walk.id} ${story}`)
        left.set(walk.id, (left.get(walk.id) ?? 0) + 1)
      }
      assert.is(left.size, records, story)
      if (world.plan.graph.checkpoint?.mode === 'exactly-once')
        assert.true(
          [...left.values()].every(times => times === 1),
          story,
        )
    }
  })
}
