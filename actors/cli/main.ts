#!/usr/bin/env node
/** The `sluice` command. */
import { Command, InvalidArgumentError, Option } from 'commander'
import * as E from 'fp-ts/lib/Either.js'
import { defaultServers } from '../../lib/job/configuration.js'
import type { Servers } from '../deploy.js'
import { exitCodes } from '../ipc.js'
import { configVariable, loadConfiguration } from '../load-configuration.js'
import { checkpointsCommand } from './checkpoints.js'
import { configCommand } from './config.js'
import { type Beginning, devCommand, upCommand } from './jobs.js'
import { makePrinter, type Printer } from './output.js'
import { cancelCommand, checkpointCommand, statusCommand } from './questions.js'
import { coordinatorCommand, twiceVariable, workerCommand } from './roles.js'

interface Common {
  readonly json?: boolean
  readonly verbose?: boolean
  readonly config?: string
  readonly twice?: boolean
}
interface Addresses {
  readonly nats: string
  readonly redis: string
}
interface Given {
  readonly nats: string
  readonly redis?: string
}
interface Begin {
  readonly fresh: boolean
  readonly from?: string
}

const nats = new Option('--nats <url>', 'where NATS is')
  .env('NATS_URL')
  .default(defaultServers.natsUrl)
/** Where jobs are recorded that commands look at. */
const redis = new Option('--redis <url>', 'where Redis is')
  .env('REDIS_URL')
  .default(defaultServers.redisUrl)
/** Where a job is recorded that is run: without any, in its coordinator's memory. */
const store = new Option(
  '--redis <url>',
  "where Redis is; without any, state is in the coordinator's memory",
).env('REDIS_URL')
const fresh = new Option(
  '--fresh',
  "give up the job's stored state and start from nothing",
).default(false)

const from = new Option(
  '--from <checkpoint>',
  'start a new job from a kept checkpoint: <job>, or <job>/<id>',
)

const serversOf = ({ nats, redis }: Given): Servers => ({
  natsUrl: nats,
  redisUrl: redis === '' ? undefined : redis,
})
const beginningOf = ({ fresh, from }: Begin): Beginning => ({ fresh, from })
const printerOf = ({ json, verbose }: Common): Printer =>
  makePrinter({ json: json === true, verbose: verbose === true })

const wholeNumber = (text: string): number => {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1) return value
  throw new InvalidArgumentError('expected a whole number of at least 1')
}

const program = new Command('sluice')
  .description('Stateful stream processing on NATS JetStream and Redis')
  .showHelpAfterError()
  // A wrong command line ends like every other wrong input.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? exitCodes.ok : exitCodes.invalid))

const command = (name: string, description: string): Command =>
  program
    .command(name)
    .description(description)
    .option('--json', 'print one JSON object a line')
    .option('--verbose', 'say more')
    .addOption(new Option('--config <file>', 'configuration file').env(configVariable))

const runTwice = new Option(
  '--twice',
  'for tests: have actors handle each record twice, and stop at the first that does not do the same',
)

/** Where servers are that neither the command line nor the environment names. */
const useConfiguredServers = async (command: Command): Promise<void> => {
  const options = command.opts<Common>()
  // For all that this process starts, too.
  if (options.config !== undefined) process.env[configVariable] = options.config
  if (options.twice === true) process.env[twiceVariable] = '1'
  // Whoever started this process has decided already.
  if (process.send !== undefined) return
  const open = command.options.filter(option => {
    const name = option.attributeName()
    if (name !== 'nats' && name !== 'redis') return false
    const value: unknown = command.getOptionValue(name)
    // An empty variable says nothing.
    return value === undefined || value === '' || command.getOptionValueSource(name) === 'default'
  })
  if (open.length === 0) return
  const layers = await loadConfiguration()
  if (E.isLeft(layers)) {
    printerOf(options).error(layers.left)
    process.exit(exitCodes.invalid)
  }
  const { natsUrl, redisUrl } = layers.right.file?.values ?? {}
  for (const option of open) {
    const name = option.attributeName()
    const url: unknown = (name === 'nats' ? natsUrl : redisUrl) ?? option.defaultValue
    if (url !== undefined) command.setOptionValueWithSource(name, url, 'config')
  }
}
program.hook('preAction', (_, command) => useConfiguredServers(command))

/** Sockets and threads that are still closing must not hold an ended command. */
const exit = async (code: Promise<number>): Promise<void> => {
  process.exitCode = await code
  process.removeAllListeners('disconnect')
  if (process.connected) process.disconnect()
  setTimeout(() => process.exit(), 250).unref()
}

command('dev <job>', 'run a job on embedded servers, one process per subtask')
  .option('--data <folder>', 'keep the servers in this folder instead of a temporary one')
  .addOption(fresh)
  .addOption(from)
  .addOption(runTwice)
  .action((job: string, options: Common & Begin & { readonly data?: string }) =>
    exit(devCommand(job, { data: options.data, ...beginningOf(options) }, printerOf(options))),
  )

command('up <job>', 'run a job on given servers, one process per subtask')
  .addOption(nats)
  .addOption(store)
  .addOption(fresh)
  .addOption(from)
  .addOption(runTwice)
  .action((job: string, options: Common & Given & Begin) =>
    exit(
      upCommand(job, { servers: serversOf(options), ...beginningOf(options) }, printerOf(options)),
    ),
  )

command('coordinator <job>', "run a job's coordinator in this process")
  .addOption(nats)
  .addOption(store)
  .addOption(fresh)
  .addOption(from)
  .action((job: string, options: Common & Given & Begin) =>
    exit(
      coordinatorCommand(
        job,
        { servers: serversOf(options), ...beginningOf(options) },
        printerOf(options),
      ),
    ),
  )

command('worker <job>', 'run subtasks of a job in this process')
  .addOption(nats)
  .addOption(store)
  .addOption(runTwice)
  .option('--slots <n>', 'how many subtasks it takes', wholeNumber, 1)
  .option('--only <subtasks>', 'take these subtasks and no others, like delays/1,delays/2')
  .action(
    (job: string, options: Common & Given & { readonly slots: number; readonly only?: string }) => {
      const only = options.only === undefined ? [] : options.only.split(',').map(s => s.trim())
      const servers = serversOf(options)
      return exit(workerCommand(job, { servers, slots: options.slots, only }, printerOf(options)))
    },
  )

command('status [job]', 'show what is known of a job, or of all jobs')
  .addOption(redis)
  .action((job: string | undefined, options: Common & Addresses) =>
    exit(statusCommand(job, options.redis, printerOf(options))),
  )

command('checkpoints <job> [id]', 'show the checkpoints of a job, or one with its subtasks')
  .addOption(redis)
  .action((job: string, id: string | undefined, options: Common & Addresses) =>
    exit(checkpointsCommand(job, id, options.redis, printerOf(options))),
  )

command('checkpoint <job>', 'take a checkpoint of a running job now')
  .addOption(nats)
  .addOption(redis)
  .option('--timeout-ms <ms>', 'how long to wait for it', wholeNumber, 60_000)
  .action((job: string, options: Common & Addresses & { readonly timeoutMs: number }) => {
    const { redis: redisUrl, nats: natsUrl, timeoutMs } = options
    return exit(checkpointCommand(job, { redisUrl, natsUrl, timeoutMs }, printerOf(options)))
  })

command('cancel <job>', 'end a job for good')
  .addOption(nats)
  .addOption(redis)
  .option('--timeout-ms <ms>', 'how long to wait for the end', wholeNumber, 30_000)
  .action((job: string, options: Common & Addresses & { readonly timeoutMs: number }) => {
    const { redis: redisUrl, nats: natsUrl, timeoutMs } = options
    return exit(cancelCommand(job, { redisUrl, natsUrl, timeoutMs }, printerOf(options)))
  })

command('config [job]', 'show the settings of a job, or of all, and where each comes from').action(
  (job: string | undefined, options: Common) => exit(configCommand(job, printerOf(options))),
)

await program.parseAsync()
