/**
 * The store's half of counterexamples of the model `test/model/checkpoint.pml`: what breaks the job when a
 * rule is taken out of the scripts does not happen. Titles begin with what was taken out.
 */
import type { Fact } from './facts.js'
import {
  begin,
  commitOptions,
  complete,
  jobName,
  left,
  manifestOf,
  right,
  storeParts,
} from './snapshots.js'

/** Registers them. */
export const counterexamples = (fact: Fact): void => {
  fact('P5_FENCE: a commit on its way while a successor begins is refused', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const parts = await storeParts(t, stores, job, epoch, generation)
    const late = stores.jobs.commit(
      claim,
      manifestOf(claim, epoch, generation, parts),
      commitOptions(epoch, generation),
    )
    await right(t, stores.jobs.beginGeneration(claim))
    t.is((await right(t, late)).type, 'fenced', 'its own newer generation')
    const next = await begin(t, stores, job)
    const zombie = stores.jobs.commit(
      claim,
      manifestOf(claim, epoch, next.generation, parts),
      commitOptions(epoch, next.generation),
    )
    t.is((await right(t, zombie)).type, 'fenced', 'an older term')
    t.is(next.restore, undefined)
    t.is((await right(t, stores.jobs.describe(job)))?.latest, undefined)
  })

  fact('P5_PARTS: reported parts that expired before the commit stop it', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const first = await complete(t, stores, claim, generation)
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const [kept] = await storeParts(t, stores, job, epoch, generation, ['source/0'])
    if (kept === undefined) return t.fail()
    const gone = { ...kept, subtask: 'delays/0' }
    const manifest = manifestOf(claim, epoch, generation, [kept, gone])
    const outcome = await right(
      t,
      stores.jobs.commit(claim, manifest, commitOptions(epoch, generation)),
    )
    t.deepEqual(outcome, { type: 'parts-missing', subtasks: ['delays/0'] })
    t.deepEqual((await right(t, stores.jobs.beginGeneration(claim))).restore, first)
  })

  fact('P11: what a generation restores has outlived the TTL of its parts', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    // Long enough to be committed in time.
    const ttlMs = 2_000
    const [part] = await storeParts(t, stores, job, epoch, generation, ['sink/0'], ttlMs)
    const [other] = await storeParts(t, stores, job, epoch + 1, generation, ['sink/0'], ttlMs)
    if (part === undefined || other === undefined) return t.fail()
    const manifest = manifestOf(claim, epoch, generation, [part])
    await right(t, stores.jobs.commit(claim, manifest, commitOptions(epoch, generation)))
    await stores.elapse(ttlMs + 100)
    await left(t, 'missing', stores.snapshots.read(job, other))
    const { restore } = await right(t, stores.jobs.beginGeneration(claim))
    t.is(restore?.epoch, epoch)
    t.is((await right(t, stores.snapshots.read(job, part))).length, part.chunks)
  })
}
