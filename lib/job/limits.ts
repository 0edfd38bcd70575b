/**
 * Every limit of a job, with its unit. Reaching one is back-pressure or a clear error, never a
 * drop.
 */
export interface Limits {
  /** A frame is flushed when it reaches this size. */
  readonly frameBytesMax: number
  /** A started frame is flushed after this time at the latest. */
  readonly lingerMs: number
  /** Bytes of one channel that were sent and not yet processed. */
  readonly channelBytesMax: number
  /**
   * Work of one channel that was sent and not yet processed, in its reader's time: fewer bytes than
   * `channelBytesMax` are under way to a slow reader, so that barriers reach it soon.
   */
  readonly channelBacklogMs: number
  /** A frame without the server's acknowledgement for this long is sent again. */
  readonly ackTimeoutMs: number
  /**
   * A channel without any progress for this long, though it has frames to send, fails its subtask.
   */
  readonly channelStallTimeoutMs: number
  /** Output of one sink subtask that waits for its checkpoint to complete. */
  readonly sinkPendingBytesMax: number
  /** Size of one chunk of a snapshot. At most 1 MiB. */
  readonly chunkBytesMax: number
  /**
   * What one checkpoint keeps in its manifest of small snapshots, see `inlineThresholdBytes`; each
   * subtask has an equal share. At most 384 KiB.
   */
  readonly inlineBytesMax: number
  /** Snapshots of changes, and the whole one below them, that a restore may have to read. */
  readonly incrementalChainMax: number
  /** Records that have come back to a loop's head and have not gone round again, per subtask. */
  readonly loopBytesMax: number
  /** Worker heartbeats: their period. */
  readonly heartbeatMs: number
  /** A worker silent for this long is dead. */
  readonly heartbeatTimeoutMs: number
  /** A worker whose event loop is blocked for this long is dead, though its heartbeats arrive. */
  readonly stallTimeoutMs: number
  /** Entries of the checkpoint history that are kept. */
  readonly historyMax: number
  /** How long a superseded checkpoint stays readable. */
  readonly supersededTtlMs: number
}

/** The limits of a job that names none. */
export const defaultLimits: Limits = {
  frameBytesMax: 32 * 1024,
  lingerMs: 5,
  channelBytesMax: 256 * 1024,
  channelBacklogMs: 500,
  ackTimeoutMs: 2_000,
  channelStallTimeoutMs: 30_000,
  sinkPendingBytesMax: 256 * 1024 * 1024,
  chunkBytesMax: 256 * 1024,
  inlineBytesMax: 256 * 1024,
  incrementalChainMax: 10,
  loopBytesMax: 64 * 1024 * 1024,
  heartbeatMs: 500,
  heartbeatTimeoutMs: 3_000,
  stallTimeoutMs: 60_000,
  historyMax: 100,
  supersededTtlMs: 60_000,
}
