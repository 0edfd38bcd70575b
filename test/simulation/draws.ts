/**
 * Chance that is hashed by place: every edge of a world draws from a source of its own, so that a
 * fault that is taken out of a run does not reshuffle what happens elsewhere in it.
 */
import { type Prng, prng } from '../support/prng.js'

/** FNV-1a of a text, from a start of one's own: 32 bits. */
export const hashText = (text: string, start = 0x811c9dc5): number => {
  let hash = start >>> 0
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  }
  return hash >>> 0
}

/** Numbers mixed into 32 bits: the same ones give the same, neighbours give no neighbours. */
export const mix = (...numbers: readonly number[]): number => {
  let hash = 0x9e3779b9
  for (const number of numbers) {
    hash = Math.imul(hash ^ (number >>> 0), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    hash ^= hash >>> 16
  }
  return hash >>> 0
}

/** The source of chance of one place. */
export const drawsAt = (seed: number, place: string): Prng => prng(mix(seed, hashText(place)))

/** One of a list; each as likely as its weight. */
export const pickWeighted = <A>(random: Prng, choices: readonly (readonly [A, number])[]): A => {
  const total = choices.reduce((sum, [, weight]) => sum + weight, 0)
  let at = random.next() * total
  for (const [choice, weight] of choices) {
    at -= weight
    if (at < 0) return choice
  }
  const [last] = choices.at(-1) ?? []
  if (last === undefined) throw new Error('nothing to pick from')
  return last
}

/** One of a list that is not empty. */
export const pick = <A>(random: Prng, list: readonly A[]): A => {
  const found = list[random.below(list.length)]
  if (found === undefined) throw new Error('nothing to pick from')
  return found
}

/** A whole number within bounds, both included. */
export const between = (random: Prng, min: number, max: number): number =>
  min + random.below(max - min + 1)
