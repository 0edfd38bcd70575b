/** Asks a server on the loopback address one question in its own protocol. */
import { connect } from 'node:net'
import { LOOPBACK } from './port.js'

const ANSWER_DEADLINE_MS = 1_000
const ANSWER_CHARS_MAX = 64 * 1_024

/**
 * Sends the question and resolves with what `read` makes of everything received so far, once that
 * is not undefined. Resolves with undefined when no such answer came: refused, closed, too long, or
 * too late.
 */
export const ask = <A>(
  port: number,
  question: string,
  read: (received: string) => A | undefined,
): Promise<A | undefined> =>
  new Promise(resolve => {
    const socket = connect({ port, host: LOOPBACK })
    let received = ''
    const end = (answer: A | undefined): void => {
      resolve(answer)
      socket.destroy()
    }
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWER_DEADLINE_MS, () => end(undefined))
    socket.on('connect', () => socket.write(question))
    socket.on('error', () => end(undefined))
    socket.on('close', () => end(undefined))
    socket.on('data', (chunk: string) => {
      received += chunk
      const answer = read(received)
      if (answer !== undefined || received.length > ANSWER_CHARS_MAX) end(answer)
    })
  })

/** Whether anybody accepts connections on the port. */
export const isListening = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect({ port, host: LOOPBACK })
    const end = (answer: boolean): void => {
      resolve(answer)
      socket.destroy()
    }
    socket.setTimeout(ANSWER_DEADLINE_MS, () => end(false))
    socket.on('connect', () => end(true))
    socket.on('error', () => end(false))
  })
