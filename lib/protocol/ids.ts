/** Number of a checkpoint, and the records between two barriers. Strictly increases for the job's life. */
export type Epoch = number
/** One incarnation of a running job. A newer generation fences out all older ones. */
export type Generation = number
/** One ownership of the coordinator's role. A newer term fences out all older coordinators. */
export type Term = number
/** Unit of state ownership and of rescaling: `hash(key) mod maxParallelism`. */
export type KeyGroup = number
/** A key as users write it. `1` and `'1'` are different keys. */
export type Key = string | number
/** One parallel instance of a chain of vertices, `delays/1`. */
export type SubtaskId = string
/** One writer subtask to one reader subtask over one edge, FIFO: `edge:from/0>to/1`. */
export type ChannelId = string
/** One operating-system process that runs subtasks. */
export type WorkerId = string
/** JetStream stream sequence up to which a source has read. */
export type Offset = number

/** A contiguous range of key groups, both ends included. */
export interface KeyGroupRange {
  readonly from: KeyGroup
  readonly to: KeyGroup
}
