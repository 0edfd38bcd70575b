/** The memory of a coordinator, as its workers reach it: through messages. */
import * as E from 'fp-ts/lib/Either.js'
import { coordinatorMemory } from '../../../lib/adapters/memory/coordinator-memory.js'
import { remoteSnapshotStore } from '../../../lib/adapters/memory/remote-snapshot-store.js'
import { jobStoreContract } from '../../contract/job-store.js'
import { snapshotStoreContract } from '../../contract/snapshot-store.js'
import type { Stores } from '../../contract/snapshots.js'

const open = async (): Promise<Stores> => {
  let elapsed = 0
  const memory = coordinatorMemory({
    stateBytesMax: 64 * 1024 * 1024,
    maxConcurrent: 10,
    incremental: false,
    now: () => elapsed,
  })
  return {
    jobs: memory.store,
    snapshots: remoteSnapshotStore(
      question => async () => E.right(await memory.answer(question)),
      64 * 1024 * 1024,
    ),
    elapse: async ms => {
      elapsed += ms
    },
  }
}

jobStoreContract('coordinator', open)
snapshotStoreContract('coordinator', open)
