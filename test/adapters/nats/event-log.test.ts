import { natsEventLog } from '../../../lib/adapters/nats/event-log.js'
import { eventLogContract } from '../../contract/event-log.js'
import { connected } from './fixtures.js'
import { localNats } from './local-server.js'

eventLogContract('nats', async t => {
  const server = await localNats(t)
  const { link } = await connected(t, server.url)
  return natsEventLog(link)
})
