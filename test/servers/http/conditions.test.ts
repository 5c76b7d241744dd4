import test from 'ava';
import { ByteRange, evaluate, parseRange } from '../../../src/servers/http/conditions.ts';
import { RequestHead } from '../../../src/servers/http/request.ts';

const SIZE = 1000;
const TAG = '"0123456789abcdef"';
const MODIFIED = 'Sun, 06 Nov 1994 08:49:37 GMT';
const EARLIER = 'Sun, 06 Nov 1994 08:49:36 GMT';
const LATER = 'Sun, 06 Nov 1994 08:49:38 GMT';
const VALIDATORS = { etagBytes: new Uint8Array(Buffer.from(TAG)), lastModified: 784_111_777 };

const RANGES: readonly (readonly [string, number, string])[] = [
  ['bytes=0-0', SIZE, '206 0-0'],
  ['bytes=0-499', SIZE, '206 0-499'],
  ['bytes=500-999', SIZE, '206 500-999'],
  ['bytes=500-', SIZE, '206 500-999'],
  ['bytes=0-', SIZE, '206 0-999'],
  ['bytes=-1', SIZE, '206 999-999'],
  ['bytes=-500', SIZE, '206 500-999'],
  ['bytes=-5000', SIZE, '206 0-999'],
  ['bytes=999-5000', SIZE, '206 999-999'],
  ['BYTES=0-1', SIZE, '206 0-1'],
  ['bytes= 0-1', SIZE, '206 0-1'],
  [`bytes=0-${'9'.repeat(30)}`, SIZE, '206 0-999'],
  ['bytes=1000-', SIZE, '416'],
  ['bytes=1000-2000', SIZE, '416'],
  [`bytes=${'9'.repeat(30)}-`, SIZE, '416'],
  ['bytes=-0', SIZE, '416'],
  ['bytes=0-', 0, '416'],
  ['bytes=-5', 0, '200'],
  ['bytes=5-4', SIZE, '200'],
  ['bytes=0-1,3-4', SIZE, '200'],
  ['bytes=0-1, ', SIZE, '200'],
  ['bytes=', SIZE, '200'],
  ['bytes', SIZE, '200'],
  ['bytes=-', SIZE, '200'],
  ['bytes=--1', SIZE, '200'],
  ['bytes=a-b', SIZE, '200'],
  ['bytes=1', SIZE, '200'],
  ['bytes=0-1x', SIZE, '200'],
  ['bytes=0 -1', SIZE, '200'],
  ['bytes =0-1', SIZE, '200'],
  ['lines=0-1', SIZE, '200'],
  ['', SIZE, '200'],
];

for (const [field, size, expected] of RANGES) {
  test(`Range "${field}" of ${size}: ${expected}`, (t) => {
    const range = new ByteRange();
    const bytes = Buffer.from(`xx${field}\r\n`, 'latin1');
    const status = parseRange(bytes, 2, field.length, size, range);
    t.is(status === 206 ? `206 ${range.first}-${range.last}` : String(status), expected);
  });
}

const CONDITIONS: readonly (readonly [string, string, number])[] = [
  ['nothing', '', 200],
  ['its tag', `If-None-Match: ${TAG}`, 304],
  ['its tag, weak', `If-None-Match: W/${TAG}`, 304],
  ['another tag', 'If-None-Match: "x"', 200],
  ['a list with its tag', `If-None-Match: "x", W/"y" ,${TAG}`, 304],
  ['a list without', 'If-None-Match: "x", "y"', 200],
  ['a tag with a comma in it, then its own', `If-None-Match: "x,y", ${TAG}`, 304],
  ['any', 'If-None-Match: *', 304],
  ['its tag without quotes', `If-None-Match: ${TAG.slice(1, -1)}`, 200],
  ['an unclosed tag', 'If-None-Match: "x', 200],
  ['the beginning of its tag', 'If-None-Match: "0123"', 200],
  ['an empty list', 'If-None-Match: ', 200],
  ['its date', `If-Modified-Since: ${MODIFIED}`, 304],
  ['a later date', `If-Modified-Since: ${LATER}`, 304],
  ['an earlier date', `If-Modified-Since: ${EARLIER}`, 200],
  ['no date', 'If-Modified-Since: now', 200],
  ['another tag outweighs its date', `If-None-Match: "x"\r\nIf-Modified-Since: ${MODIFIED}`, 200],
  ['If-Match its tag', `If-Match: ${TAG}`, 200],
  ['If-Match any', 'If-Match: *', 200],
  ['If-Match another', 'If-Match: "x"', 412],
  ['If-Match needs strong tags', `If-Match: W/${TAG}`, 412],
  ['If-Match a list', `If-Match: "x", ${TAG}`, 200],
  ['unmodified since its date', `If-Unmodified-Since: ${MODIFIED}`, 200],
  ['unmodified since an earlier date', `If-Unmodified-Since: ${EARLIER}`, 412],
  ['unmodified since no date', 'If-Unmodified-Since: then', 200],
  ['If-Match outweighs the date', `If-Match: ${TAG}\r\nIf-Unmodified-Since: ${EARLIER}`, 200],
  ['If-Match and If-None-Match', `If-Match: ${TAG}\r\nIf-None-Match: ${TAG}`, 304],
  ['a range', 'Range: bytes=0-1', 206],
  ['a range that is not there', 'Range: bytes=5000-', 416],
  ['a range of its tag', `Range: bytes=0-1\r\nIf-Range: ${TAG}`, 206],
  ['a range of another tag', 'Range: bytes=0-1\r\nIf-Range: "x"', 200],
  ['a range of its tag, weak', `Range: bytes=0-1\r\nIf-Range: W/${TAG}`, 200],
  ['a range of its date', `Range: bytes=0-1\r\nIf-Range: ${MODIFIED}`, 206],
  ['a range of a later date', `Range: bytes=0-1\r\nIf-Range: ${LATER}`, 200],
  ['a range of no date', 'Range: bytes=0-1\r\nIf-Range: x', 200],
  ['a range not there, of another tag', 'Range: bytes=5000-\r\nIf-Range: "x"', 200],
  ['If-Range alone', `If-Range: ${TAG}`, 200],
  ['a range, but not modified', `Range: bytes=0-1\r\nIf-None-Match: ${TAG}`, 304],
  ['two ranges', 'Range: bytes=0-1\r\nRange: bytes=2-3', 200],
];

for (const [what, fields, expected] of CONDITIONS) {
  test(`${what}: ${expected}`, (t) => {
    const status = (method: string): number => {
      const head = new RequestHead({ maxHeadBytes: 8192, maxTargetBytes: 4096, maxFields: 100 });
      const text = `${method} / HTTP/1.1\r\nHost: x\r\n${fields}${fields === '' ? '' : '\r\n'}\r\n`;
      const bytes = Buffer.from(text, 'latin1');
      t.is(head.parse(bytes, 0, bytes.length), bytes.length);
      return evaluate(head, bytes, VALIDATORS, SIZE, new ByteRange());
    };
    t.is(status('GET'), expected);
    t.is(status('HEAD'), expected === 206 || expected === 416 ? 200 : expected);
  });
}
