/** What a benchmark tells the processes that it starts, through their environment. */

/** A whole number that the benchmark has set. */
export const numberOf = (name: string): number => {
  const value = Number(textOf(name))
  if (!Number.isSafeInteger(value)) throw new Error(`${name} is no whole number`)
  return value
}

/** A text that the benchmark has set. */
export const textOf = (name: string): string => {
  const value = process.env[name]
  if (value === undefined || value === '') throw new Error(`${name} is not set`)
  return value
}
