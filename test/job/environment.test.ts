import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { Configuration } from '../../lib/job/configuration-codec.js'
import { configurationIn, type Environment, environmentName } from '../../lib/job/environment.js'
import { problemText } from '../../lib/job/problem.js'

const read = (environment: Environment): Configuration => {
  const found = configurationIn(environment)
  if (E.isRight(found)) return found.right
  throw new Error(found.left.map(problemText).join('\n'))
}

const refusals = (environment: Environment): readonly string[] => {
  const found = configurationIn(environment)
  return E.isLeft(found) ? found.left.map(problemText) : []
}

test('a variable is named after its key', t => {
  t.deepEqual(
    ['checkpoint.intervalMs', 'stateBackend.type', 'localRecoveryFolders', 'natsUrl'].map(
      environmentName,
    ),
    [
      'SLUICE_CHECKPOINT_INTERVAL_MS',
      'SLUICE_STATE_BACKEND_TYPE',
      'SLUICE_LOCAL_RECOVERY_FOLDERS',
      'NATS_URL',
    ],
  )
})

test('numbers, yes and no, texts and lists are read as what their keys take', t => {
  t.deepEqual(
    read({
      SLUICE_CHECKPOINT_INTERVAL_MS: '500',
      SLUICE_CHECKPOINT_MODE: 'at-least-once',
      SLUICE_CHECKPOINT_ASYNC: 'false',
      SLUICE_RESTART_TYPE: 'exponential-delay',
      SLUICE_RESTART_JITTER: '.5',
      SLUICE_LIMITS_LINGER_MS: '7',
      SLUICE_STATE_BACKEND_TYPE: 'fs',
      SLUICE_STATE_BACKEND_FOLDER: '12',
      SLUICE_LOCAL_RECOVERY_FOLDERS: '/a, /b',
      NATS_URL: 'nats://n',
      REDIS_URL: '',
    }),
    {
      checkpoint: { intervalMs: 500, mode: 'at-least-once', async: false },
      restart: { type: 'exponential-delay', jitter: 0.5 },
      limits: { lingerMs: 7 },
      stateBackend: { type: 'fs', folder: '12' },
      localRecoveryFolders: ['/a', '/b'],
      natsUrl: 'nats://n',
    },
  )
})

test('an empty variable, and those of others, say nothing', t => {
  t.deepEqual(
    read({ SLUICE_CHECKPOINT_MODE: '', SLUICE_RUN: 'r', SLUICE_TEST_X: '1', PATH: '/' }),
    {},
  )
})

test('a wrong value is told by the name of its variable', t => {
  t.deepEqual(refusals({ SLUICE_CHECKPOINT_INTERVAL_MS: 'soon', SLUICE_CHECKPOINT_ASYNC: '1' }), [
    'SLUICE_CHECKPOINT_INTERVAL_MS: expected a whole number from 10 to 2147483647, found "soon". Correct the number.',
    'SLUICE_CHECKPOINT_ASYNC: expected true or false, found 1. Choose one of these.',
  ])
})

test('options of a restart strategy need its type beside them', t => {
  const [problem = ''] = refusals({ SLUICE_RESTART_ATTEMPTS: '3' })
  t.regex(problem, /^SLUICE_RESTART_TYPE: expected one of "none".*found nothing\./)
})

test('a misspelt variable is not dropped in silence', t => {
  t.deepEqual(refusals({ SLUICE_CHECKPOINT_MODES: 'exactly-once' }), [
    'SLUICE_CHECKPOINT_MODES: expected the name of a setting, found "SLUICE_CHECKPOINT_MODES". Did you mean SLUICE_CHECKPOINT_MODE?',
  ])
})
