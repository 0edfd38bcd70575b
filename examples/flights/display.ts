/** What the demo prints: lines, and a live line of progress on a terminal. */
import type { EmbeddedServers, JobEvent } from 'sluice/actors'
import type { DelayRecord } from './expected.js'
import type { Kill, Recovery } from './kills.js'
import type { Watch } from './watch.js'

/** Prints for people; with `json` one object a line, for programs. */
export interface Display {
  say(text: string): void
  servers(servers: Pick<EmbeddedServers, 'natsUrl' | 'redisUrl'>): void
  event(event: JobEvent): void
  kill(kill: Kill): void
  recovery(recovery: Recovery): void
  progress(watch: Watch, total: number): void
  table(airports: readonly DelayRecord[]): void
  /** The last line. */
  result(value: Readonly<Record<string, unknown>>): void
}

const plainProgressMs = 1_000
const liveProgressMs = 100

export const makeDisplay = (json: boolean): Display => (json ? jsonDisplay() : textDisplay())

const jsonDisplay = (): Display => {
  const print = (value: unknown): void => {
    process.stdout.write(`${JSON.stringify(value)}\n`)
  }
  const due = everyMs(plainProgressMs)
  return {
    say: text => print({ type: 'say', text }),
    servers: ({ natsUrl, redisUrl }) => print({ type: 'servers', natsUrl, redisUrl }),
    event: event => {
      if (event.type !== 'progress') print(event)
    },
    kill: kill => print({ type: 'kill', ...kill }),
    recovery: recovery => print({ type: 'recovery', ...recovery }),
    progress: ({ fed, outputs, generation, completed }) => {
      if (due()) print({ type: 'progress', fed, outputs, generation, completed })
    },
    table: airports => print({ type: 'airports', airports }),
    result: print,
  }
}

const textDisplay = (): Display => {
  const live = process.stdout.isTTY === true
  const due = everyMs(live ? liveProgressMs : plainProgressMs)
  let shown = false
  const say = (text: string): void => {
    process.stdout.write(`${shown ? '\r\u001b[K' : ''}${text}\n`)
    shown = false
  }
  return {
    say,
    servers: ({ natsUrl, redisUrl }) =>
      say(`embedded servers: NATS at ${natsUrl}, Redis at ${redisUrl}`),
    event: event => {
      const text = eventText(event)
      if (text !== undefined) say(text)
    },
    kill: ({ role, pid, outputs, fed }) =>
      say(`SIGKILL to ${role} (process ${pid}), with ${fed} records in and ${outputs} out`),
    recovery: ({ generation, restored, durationMs }) => {
      const from = restored === undefined ? 'nothing' : `checkpoint ${restored}`
      say(`recovered in ${durationMs} ms: generation ${generation} runs from ${from}`)
    },
    progress: (watch, total) => {
      if (!due()) return
      const text = progressText(watch, total)
      if (!live) return say(text)
      process.stdout.write(`\r\u001b[K${text.slice(0, (process.stdout.columns ?? 80) - 1)}`)
      shown = true
    },
    table: airports => say(tableText(airports)),
    result: value => say(JSON.stringify(value)),
  }
}

/** Answers true at most once in so many milliseconds. */
const everyMs = (periodMs: number): (() => boolean) => {
  let last = Number.NEGATIVE_INFINITY
  return () => {
    const now = performance.now()
    if (now - last < periodMs) return false
    last = now
    return true
  }
}

/** They come with every checkpoint and every start; the progress shows them. */
const quietNotes = new Set(['checkpoint-completed', 'worker-joined'])

const eventText = (event: JobEvent): string | undefined => {
  switch (event.type) {
    case 'process-started':
      return `process ${event.pid} is ${event.role}`
    case 'note':
      return quietNotes.has(event.name) ? undefined : event.text
    case 'trouble':
      return `${event.role}: ${event.text}`
    case 'process-exited':
    case 'progress':
      return undefined
  }
}

const barWidth = 12

const progressText = (watch: Watch, total: number): string => {
  const { outputs, fed, generation, running, completed } = watch
  const full = Math.floor((outputs / total) * barWidth)
  const bar = `${'#'.repeat(full)}${'.'.repeat(barWidth - full)}`
  const state =
    generation === 0 ? 'starting' : `generation ${generation}${running ? '' : ' starting'}`
  return `[${bar}] ${outputs} of ${total} out, ${fed} in · ${state} · checkpoint ${completed}`
}

const tableText = (airports: readonly DelayRecord[]): string =>
  [
    'airport  flights  mean delay',
    ...airports.map(({ origin, flights, meanDelay }) =>
      [origin.padEnd(7), `${flights}`.padStart(7), `${meanDelay.toFixed(1)} min`.padStart(10)].join(
        '  ',
      ),
    ),
  ].join('\n')
