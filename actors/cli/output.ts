/** What commands print: plain lines, a live line on a terminal, or one JSON object a line. */
import type { StreamError } from '../../lib/errors.js'
import type { JobProgress } from '../ipc.js'
import type { JobEvent } from '../supervisor.js'

/** Where a command says what happens. */
export interface Printer {
  /** A line for people; on a terminal it goes above the live line. */
  readonly say: (text: string) => void
  readonly event: (event: JobEvent) => void
  /** The last word: an object for `--json`, a sentence for people. */
  readonly result: (value: Readonly<Record<string, unknown>>, text: string) => void
  readonly error: (error: Pick<StreamError, 'type' | 'message' | 'next'>) => void
}

/** Piped output gets a line of progress this often. */
const plainProgressMs = 5_000

/** Errors go to standard error as two plain sentences; with `--json` they are an object on standard output. */
export const makePrinter = (options: {
  readonly json: boolean
  readonly verbose: boolean
}): Printer => (options.json ? jsonPrinter() : textPrinter(options.verbose))

const jsonPrinter = (): Printer => {
  const print = (value: unknown): void => {
    process.stdout.write(`${JSON.stringify(value)}\n`)
  }
  return {
    say: text => print({ type: 'say', text }),
    event: print,
    result: value => print({ type: 'result', ...value }),
    error: ({ type, message, next }) => print({ type: 'error', error: { type, message, next } }),
  }
}

const textPrinter = (verbose: boolean): Printer => {
  const live = process.stdout.isTTY === true
  let shown = false
  let lastPlain: number | undefined
  const clear = (): void => {
    if (shown) process.stdout.write('\r\u001b[K')
    shown = false
  }
  const say = (text: string): void => {
    clear()
    process.stdout.write(`${text}\n`)
  }
  const progress = (at: JobProgress): void => {
    const text = progressText(at)
    if (live) {
      clear()
      process.stdout.write(text.slice(0, (process.stdout.columns ?? 80) - 1))
      shown = true
      return
    }
    const now = performance.now()
    if (lastPlain !== undefined && now - lastPlain < plainProgressMs) return
    lastPlain = now
    say(text)
  }
  return {
    say,
    event: event => {
      switch (event.type) {
        case 'progress':
          progress(event.progress)
          return
        case 'note':
          if (verbose || !quietNotes.has(event.name)) say(event.text)
          return
        case 'trouble':
          say(`${event.role}: ${event.text}`)
          return
        case 'process-exited':
          say(`process ${event.role} (${event.pid}) ended: ${event.reason}`)
          return
        case 'process-started':
          say(`process ${event.role} (${event.pid}) started`)
      }
    },
    result: (_value, text) => say(text),
    error: ({ message, next }) => {
      clear()
      process.stderr.write(`sluice: ${message}${/[.!?]$/.test(message) ? '' : '.'}\n`)
      if (next !== undefined) process.stderr.write(`${next}\n`)
    },
  }
}

/** They come every interval; the live line shows them. */
const quietNotes = new Set(['checkpoint-completed', 'worker-joined'])

const progressText = (at: JobProgress): string => {
  const skipped = at.skipped === 0 ? '' : ` (${at.skipped} skipped)`
  const waiting =
    at.waiting.length === 0 ? '' : ` · waiting for workers for ${at.waiting.join(', ')}`
  return `${at.phase} · generation ${at.generation} · checkpoint ${at.completed} · ${at.records} records${skipped} · ${at.workers} workers${waiting}`
}
