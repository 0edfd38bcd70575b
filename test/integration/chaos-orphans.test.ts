/** What a supervisor started does not outlive it. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { sharedServers } from '../support/servers.js'

const command = fileURLToPath(new URL('../../actors/cli/main.js', import.meta.url))
const job = fileURLToPath(new URL('../../examples/flights/job.js', import.meta.url))

for (const role of ['coordinator', 'worker']) {
  test(`a ${role} whose supervisor died while it was starting ends by itself`, async t => {
    const { natsUrl, redisUrl } = await sharedServers()
    const env = { ...process.env, NATS_URL: natsUrl, REDIS_URL: redisUrl }
    const child = fork(command, [role, job], { env, stdio: 'ignore' })
    t.teardown(() => child.kill('SIGKILL'))
    child.disconnect()
    const [code, signal] = await once(child, 'exit')
    t.deepEqual([code, signal], [1, null])
  })
}
