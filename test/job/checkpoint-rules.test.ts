import test from 'ava'
import { inlineRulesOf } from '../../lib/job/checkpoint-rules.js'
import type { StateBackendOptions } from '../../lib/job/settings.js'
import { countingJob } from '../support/counting-job.js'
import { planOf } from '../support/memory-job.js'

const mebibyte = 1024 * 1024

const thresholdWith = (inlineThresholdBytes: number, stateBackend?: StateBackendOptions) => {
  const { graph } = countingJob(1)
  const { checkpoint } = graph
  if (checkpoint === undefined) throw new Error('the job has no checkpoints')
  const settings = stateBackend === undefined ? {} : { stateBackend }
  const job = { ...graph, settings, checkpoint: { ...checkpoint, inlineThresholdBytes } }
  return inlineRulesOf(planOf({ type: 'job', graph: job }), mebibyte).thresholdBytes
}

test('what is too large for the memory of a coordinator is not carried there either', t => {
  t.is(thresholdWith(4_096, { type: 'memory', stateBytesMax: 1_000 }), 1_000)
  t.is(thresholdWith(4_096, { type: 'memory', stateBytesMax: 5_000 }), 4_096)
  t.is(thresholdWith(4_096, { type: 'memory' }), 4_096)
  t.is(thresholdWith(4_096, { type: 'redis' }), 4_096)
  t.is(thresholdWith(4_096), 4_096)
})

test('a job without checkpoints carries nothing, and each subtask has an equal share', t => {
  const { graph } = countingJob(1)
  const { checkpoint: _, ...rest } = graph
  const plan = planOf({ type: 'job', graph: { ...rest, checkpoint: undefined } })
  t.deepEqual(inlineRulesOf(plan, mebibyte), {
    thresholdBytes: 0,
    shareBytes: Math.floor((256 * 1024) / plan.subtasks.length),
  })
})
