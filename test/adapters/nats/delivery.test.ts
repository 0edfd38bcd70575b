import test from 'ava'
import { DeliveryPosition, deliveryTime } from '../../../lib/adapters/nats/delivery.js'

const read = (reply: string): readonly number[] | undefined => {
  const position = new DeliveryPosition()
  return position.read(reply) ? [position.streamSequence, position.consumerSequence] : undefined
}

test('positions are read from reply subjects of 9, 11 and 12 tokens', t => {
  t.deepEqual(read('$JS.ACK.S.c.1.9007199254740991.22.1795364816124026659.4'), [2 ** 53 - 1, 22])
  t.deepEqual(read('$JS.ACK.hub.ACCHASH.S.c.1.11.22.1795364816124026659.4'), [11, 22])
  t.deepEqual(read('$JS.ACK.hub.ACCHASH.S.c.1.11.22.1795364816124026659.4.token'), [11, 22])
})

test('the time of storing is read from them, too', t => {
  const time = '1795364816124026659'
  t.is(deliveryTime(`$JS.ACK.S.c.1.11.22.${time}.4`), time)
  t.is(deliveryTime(`$JS.ACK.hub.ACCHASH.S.c.1.11.22.${time}.4`), time)
  t.is(deliveryTime(`$JS.ACK.hub.ACCHASH.S.c.1.11.22.${time}.4.token`), time)
})

test('other subjects have no position', t => {
  for (const reply of [
    '',
    '_INBOX.a.1',
    '$JS.ACK.S.c.1.11.22.33',
    '$JS.ACK.S.c.1.11.22.33.4.5',
    '$JS.ACK.a.b.S.c.1.11.22.33.4.5.6.7.8.9',
    '$JS.ACK.S.c.1.x.22.33.4',
    '$JS.ACK.S.c.1..22.33.4',
    '$JS.XYZ.S.c.1.11.22.33.4',
  ]) {
    t.is(read(reply), undefined, reply)
  }
})
