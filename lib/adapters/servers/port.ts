/** Chooses ports for servers on the loopback address. */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Where every embedded server listens: never on the network. */
export const LOOPBACK = '127.0.0.1'

/**
 * Below the range from which systems take the ports of outgoing connections (Linux from 32768,
 * others from 49152): a killed server's port could else be taken before its restart, even by a
 * client that tries to reconnect and, by chance, gets that very port for its own end and so
 * connects to itself.
 */
const PORT_MIN = 20_000
const PORT_MAX = 32_000
const TRIES_MAX = 100

/**
 * A port that nobody listened on just now. Somebody may by the time it is used. Rejects if none is
 * free.
 */
export const chooseFreePort = async (): Promise<number> => {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const port = randomInt(PORT_MIN, PORT_MAX)
    if (await isFree(port)) return port
  }
  throw new Error(`no free port found on ${LOOPBACK} in ${TRIES_MAX} tries`)
}

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, LOOPBACK, () => server.close(() => resolve(true)))
  })
