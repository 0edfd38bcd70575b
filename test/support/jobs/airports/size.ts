/** Sizes of airports: an enum is what TypeScript cannot simply strip away. */
export enum Size {
  Small = 'small',
  Large = 'large',
}

export type SizeOf = (flights: number) => Size

export const sizeOf: SizeOf = flights => (flights >= 100 ? Size.Large : Size.Small)
