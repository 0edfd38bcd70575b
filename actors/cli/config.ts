/** `sluice config`: the settings that a job gets, and where each comes from. */
import * as E from 'fp-ts/lib/Either.js'
import type { StreamError } from '../../lib/errors.js'
import { type ConfiguredValue, configuredForAll, originText } from '../../lib/job/configuration.js'
import { idleSettings } from '../../lib/job/idle.js'
import { masked } from '../../lib/job/masked.js'
import { exitCodes } from '../ipc.js'
import { loadConfiguration } from '../load-configuration.js'
import { loadConfiguredJob } from '../load-job.js'
import type { Printer } from './output.js'

interface Settings {
  readonly values: readonly ConfiguredValue[]
  readonly file: string | undefined
}

/** Shows the settings of a job, or without one those that are configured for all. */
export const configCommand = async (
  file: string | undefined,
  printer: Printer,
): Promise<number> => {
  const settings = file === undefined ? await ofAll() : await ofJob(file)
  if (E.isLeft(settings)) {
    printer.error(settings.left)
    return exitCodes.invalid
  }
  const { values, file: path } = settings.right
  const shown = values.map(shownValue)
  const idle = idleSettings(values)
  const config = Object.fromEntries(
    shown.map(({ key, value, from }) => {
      const note = idle.get(key)
      return [key, { value: value ?? null, from, ...(note === undefined ? {} : { note }) }]
    }),
  )
  printer.result({ file: path ?? null, config }, textOf(shown, idle, path))
  return exitCodes.ok
}

const ofAll = async (): Promise<E.Either<StreamError, Settings>> => {
  const layers = await loadConfiguration()
  return E.isLeft(layers)
    ? layers
    : E.right({ values: configuredForAll(layers.right), file: layers.right.file?.path })
}

const ofJob = async (file: string): Promise<E.Either<StreamError, Settings>> => {
  const loaded = await loadConfiguredJob(file)
  return E.isLeft(loaded)
    ? loaded
    : E.right({ values: loaded.right.settings, file: loaded.right.file })
}

const addresses = new Set(['natsUrl', 'redisUrl'])

const shownValue = ({ key, value, from }: ConfiguredValue): ConfiguredValue => ({
  key,
  value: addresses.has(key) && typeof value === 'string' ? masked(value) : value,
  from,
})

const textOf = (
  values: readonly ConfiguredValue[],
  idle: ReadonlyMap<string, string>,
  path: string | undefined,
): string => {
  const rows = values.map(({ key, value, from }) => {
    const note = idle.get(key)
    const origin = originText(from)
    return [key, valueText(value), note === undefined ? origin : `${origin} (${note})`]
  })
  const width = (column: number): number => Math.max(...rows.map(row => row[column]?.length ?? 0))
  const [keys, texts] = [width(0), width(1)]
  return [
    `configuration file: ${path ?? 'none'}`,
    ...rows.map(
      ([key = '', text = '', from = '']) => `${key.padEnd(keys)}  ${text.padEnd(texts)}  ${from}`,
    ),
  ].join('\n')
}

const valueText = (value: unknown): string => {
  if (value === undefined) return '-'
  return typeof value === 'string' ? value : JSON.stringify(value)
}
