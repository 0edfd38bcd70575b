/** A program that starts servers, says so in one line of JSON, and then waits to be killed. */
import * as E from 'fp-ts/lib/Either.js'
import { startServers } from '../../../lib/adapters/servers/embedded.js'

process.on('SIGINT', () => undefined)
const alive = setInterval(() => undefined, 60_000)
const servers = await startServers()()
if (E.isLeft(servers)) {
  process.stdout.write(`${JSON.stringify(servers.left)}\n`)
  clearInterval(alive)
} else {
  const pids = await servers.right.pids()()
  const { folder, natsUrl, redisUrl } = servers.right
  const facts = { folder, natsUrl, redisUrl, pids: E.isRight(pids) ? pids.right : undefined }
  process.stdout.write(`${JSON.stringify(facts)}\n`)
}
if (process.argv.includes('--leave')) process.exit(0)
