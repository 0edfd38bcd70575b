/**
 * Where records go on an edge: to which channel at the writer's end, under which key at the reader's.
 * Hot path: one closure an edge, nothing made per record.
 */
import { messageOf, SluiceError, streamError } from '../lib/errors.js'
import type { ChainEdge } from '../lib/job/plan.js'
import { type ChainProgram, type Collector, filtered } from '../lib/operators/chain.js'
import type { Key, KeyGroup, KeyGroupRange } from '../lib/protocol/ids.js'
import { keyGroupOf, subtaskOf } from '../lib/protocol/key-group.js'

/** Takes the records of an edge to its channels, one for each subtask of the reader, in order. */
export const collectorOf = (
  edge: ChainEdge,
  channels: readonly { add(record: unknown): void }[],
  maxParallelism: number,
): Collector => filtered(edge.when, spread(edge, channels, maxParallelism))

const spread = (
  edge: ChainEdge,
  channels: readonly { add(record: unknown): void }[],
  maxParallelism: number,
): Collector => {
  const count = channels.length
  const { partition } = edge
  if (partition.type === 'keyed') {
    const { keyOf } = partition
    return record => {
      let group: KeyGroup
      try {
        group = keyGroupOf(keyOf(record), maxParallelism)
      } catch (thrown) {
        throw badKey(edge.to, thrown)
      }
      channels[subtaskOf(group, count, maxParallelism)]?.add(record)
    }
  }
  let turn = 0
  return record => {
    channels[turn]?.add(record)
    turn = turn + 1 === count ? 0 : turn + 1
  }
}

/** Takes the records of an edge into a chain whose subtask owns `keyGroups`. */
export const receiverOf = (
  edge: ChainEdge,
  keyGroups: KeyGroupRange,
  maxParallelism: number,
  receive: ChainProgram['receive'],
): Collector => {
  const { partition } = edge
  if (partition.type === 'rebalance') return record => receive(record, undefined, 0)
  const { keyOf } = partition
  const { from, to } = keyGroups
  return record => {
    let key: Key
    let group: KeyGroup
    try {
      key = keyOf(record)
      group = keyGroupOf(key, maxParallelism)
    } catch (thrown) {
      throw badKey(edge.to, thrown)
    }
    if (group < from || group > to) throw strayKey(edge.to, key)
    receive(record, key, group)
  }
}

const badKey = (to: string, thrown: unknown): SluiceError =>
  new SluiceError(
    streamError(
      'user-code',
      `the function given to keyBy before '${to}' gave no key: ${messageOf(thrown)}`,
      { next: 'Make it return a string or a finite number for every record.', cause: thrown },
    ),
  )

const strayKey = (operator: string, key: Key): SluiceError =>
  new SluiceError(
    streamError(
      'user-code',
      `the key ${JSON.stringify(key)} of a record for '${operator}' belongs to another subtask`,
      { next: 'Make the function given to keyBy depend on nothing but the record.' },
    ),
  )
