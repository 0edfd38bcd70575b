/**
 * Key ⇒ key group ⇒ subtask.
 *
 * A key group is the unit of state ownership: state is stored by group, and a group moves as a
 * whole when the parallelism changes. Which group a key belongs to is therefore fixed for the
 * state's life: changing the hash below would send records to subtasks that do not hold their
 * state. The golden values in the tests guard it.
 *
 * Invariants
 *   KG1. A key's group depends on the key and on maxParallelism only, never on the parallelism.
 *   KG2. Every group belongs to exactly one subtask, and `rangeOf` and `subtaskOf` agree on which.
 *   KG3. `1` and `'1'` are different keys; `-0` and `0` are the same.
 *
 * This runs once per record on every keyed edge: nothing here allocates, and nothing is checked but
 * the key itself.
 */
import { invariant } from '../invariant.js'
import type { Key, KeyGroup, KeyGroupRange } from './ids.js'

/** The largest number of key groups that a job may have. */
export const maxParallelismMax = 32_768

// The type tag of a key is the seed of its hash: 's' and 'n' in ASCII.
const textSeed = 0x73
const numberSeed = 0x6e

/**
 * A key that no group can be computed for. Thrown at the record that has it: the fault lies in the
 * user's `keyBy` function, so it is handled as an error of user code.
 */
export class KeyRefused extends Error {
  override readonly name = 'KeyRefused'
  constructor(found: unknown) {
    super(
      `a key must be a string or a finite number, found ${
        typeof found === 'number' || found === undefined || found === null
          ? String(found)
          : `a value of type ${typeof found}`
      }`,
    )
  }
}

/** The key group of a key: its hash modulo maxParallelism. Throws `KeyRefused`. */
export const keyGroupOf = (key: Key, maxParallelism: number): KeyGroup => {
  if (typeof key === 'string') return hashOfText(key, textSeed) % maxParallelism
  if (typeof key === 'number' && Number.isFinite(key)) return hashOfNumber(key) % maxParallelism
  throw new KeyRefused(key)
}

/** Index of the subtask that owns a key group. */
export const subtaskOf = (group: KeyGroup, parallelism: number, maxParallelism: number): number =>
  Math.floor((group * parallelism) / maxParallelism)

/** The key groups that subtask `index` of `parallelism` owns. */
export const rangeOf = (
  index: number,
  parallelism: number,
  maxParallelism: number,
): KeyGroupRange => {
  invariant(parallelism >= 1 && parallelism <= maxParallelism, 'KG2', 'more subtasks than groups')
  invariant(index >= 0 && index < parallelism, 'KG2', `no subtask ${index} of ${parallelism}`)
  return {
    from: Math.ceil((index * maxParallelism) / parallelism),
    to: Math.ceil(((index + 1) * maxParallelism) / parallelism) - 1,
  }
}

/** MurmurHash3 (x86, 32 bits) of a text's UTF-16 code units in little-endian order. */
export const hashOfText = (text: string, seed: number): number => {
  const length = text.length
  let hash = seed
  let at = 0
  for (; at + 1 < length; at += 2) {
    hash = mixBlock(hash, text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16))
  }
  if (at < length) hash ^= scramble(text.charCodeAt(at))
  return finish(hash, length * 2)
}

// Shared and rewritten on every call, so that hashing a number allocates nothing.
const scratch = new DataView(new ArrayBuffer(8))

const hashOfNumber = (value: number): number => {
  // Adding 0 turns -0 into 0.
  scratch.setFloat64(0, value + 0, true)
  const hash = mixBlock(mixBlock(numberSeed, scratch.getInt32(0, true)), scratch.getInt32(4, true))
  return finish(hash, 8)
}

const scramble = (block: number): number => {
  const mixed = Math.imul(block, 0xcc9e2d51)
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593)
}

const mixBlock = (hash: number, block: number): number => {
  const mixed = hash ^ scramble(block)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}

const finish = (hash: number, bytes: number): number => {
  let mixed = hash ^ bytes
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
