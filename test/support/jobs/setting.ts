/** What a test tells its job file through the environment, which every process of the job inherits. */

/** The text that the test gave under a name; the fallback if it gave none. */
export const setting = (name: string, fallback: string): string =>
  process.env[`SLUICE_TEST_${name}`] ?? fallback

/** The number that the test gave under a name. */
export const numberSetting = (name: string, fallback: number): number =>
  Number(setting(name, String(fallback)))
