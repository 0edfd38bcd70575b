import { recordCodec } from '../../../lib/adapters/codec/record-codec.js'
import { recordCodecContract } from '../../contract/record-codec.js'

recordCodecContract('columns and v8', recordCodec)
