export const caughtBy = async (_options: { readonly seeds: number }): Promise<number> => 1
