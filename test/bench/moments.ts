/** Moments that processes of one machine can compare: milliseconds of the clock that they share. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6
