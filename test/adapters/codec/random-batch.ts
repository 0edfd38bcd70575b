/** Batches of random records: alike as a rule, and every so often with something odd among them. */
import type { Prng } from '../../support/prng.js'

type Draw = (random: Prng) => unknown

const pick = <A>(random: Prng, from: readonly A[]): A => {
  const one = from[random.below(from.length)]
  if (one === undefined) throw new Error('nothing to pick from')
  return one
}

const alphabets = ['ab', 'aé\u00ff\0', 'ał日\ud800\udc00'] as const

const textOf = (random: Prng, alphabet: string): string => {
  const length = random.below(random.chance(0.02) ? 600 : 40)
  return Array.from({ length }, () => alphabet[random.below(alphabet.length)]).join('')
}

const numbers = [0, -0, 1, -1, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 0.5, Number.NaN, 1e300, 2 ** 53]
const odd = [undefined, null, true, 7n, 'x', 3, new Date(1), Number.POSITIVE_INFINITY]

const cells: readonly Draw[] = [
  random => random.below(1_000) - 500,
  random => pick(random, numbers),
  random => textOf(random, alphabets[0]),
  random => textOf(random, alphabets[1]),
  random => textOf(random, alphabets[2]),
  random => random.chance(0.5),
  random => odd[random.below(odd.length)],
  random => new Date(random.below(1_000)),
  random => Array.from({ length: random.below(4) }, () => random.below(9)),
  random => Buffer.from(textOf(random, alphabets[0])),
]

const oddities: readonly Draw[] = [
  () => new Map([[1, { a: 1 }]]),
  () => new Set(['a']),
  () => [1, { deep: 1 }],
  () => Object.assign(Object.create(null), { a: 1 }),
  () => JSON.parse('{"__proto__": 1}'),
  () => ({}),
  () => Object.assign([1], { extra: 2 }),
  () => new Array(3),
]

const names = ['a', 'b', 'key', 'ł', '"', 'constructor', 'x y', '\ud800', 'valueOf', 'é', '7', '-1']

type Drawn = readonly (readonly [name: string, draw: Draw])[]

const fieldsOf = (random: Prng, depth: number): Drawn => {
  const shuffled = names.filter(name => name !== '7' || random.chance(0.1))
  const start = random.below(shuffled.length)
  const count = random.chance(0.03) ? 0 : 1 + random.below(6)
  return [...shuffled.slice(start), ...shuffled.slice(0, start)].slice(0, count).map(name => {
    if (depth === 0 || random.chance(0.8)) return [name, pick(random, cells)] as const
    const inner = fieldsOf(random, depth - 1)
    return [name, (again: Prng) => recordOf(again, inner)] as const
  })
}

const recordOf = (random: Prng, fields: Drawn): Record<string, unknown> => {
  const record: Record<string, unknown> = {}
  for (const [name, draw] of fields) record[name] = draw(random)
  return record
}

/** A batch of up to 20 records. */
export const randomBatch = (random: Prng): readonly unknown[] => {
  const length = random.below(20)
  if (random.chance(0.15)) {
    const cell = pick(random, cells)
    return Array.from({ length }, () => cell(random))
  }
  const fields = fieldsOf(random, 2)
  const records = Array.from({ length }, () => recordOf(random, fields))
  const one = records[random.below(Math.max(1, length))]
  const [first] = fields
  if (one !== undefined && first !== undefined) {
    if (random.chance(0.1)) one[first[0]] = pick(random, oddities)(random)
    if (random.chance(0.05)) one.more = one[first[0]]
    if (random.chance(0.03)) one[first[0]] = one
    if (random.chance(0.03)) delete one[first[0]]
  }
  return records
}
