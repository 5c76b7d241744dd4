/**
 * HTTP dates (RFC 9110 section 5.6.7): seconds since 1970 to the preferred form, and all three forms back to seconds.
 */
import { type Bytes, u8 } from '../../wire/bytes.ts';
import { asciiBytes, COLON, COMMA, DASH, equalBytes, isDigit, SPACE, ZERO } from './characters.ts';

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const MONTH_BYTES = MONTHS.map(asciiBytes);
const GMT = asciiBytes(' GMT');

const DAY_SECONDS = 86_400;

/** `parseHttpDate`: not a date. */
export const NO_DATE = -1;

const IMF_BYTES = 29;
const ASCTIME_BYTES = 24;
/** Of an RFC 850 date, what follows the name of the day. */
const RFC850_TAIL_BYTES = 24;

/** `Sun, 06 Nov 1994 08:49:37 GMT`. */
export function formatHttpDate(seconds: number): string {
  const days = Math.floor(seconds / DAY_SECONDS);
  const rest = seconds - days * DAY_SECONDS;
  // The civil calendar from a count of days (Howard Hinnant, "chrono-compatible low-level date algorithms").
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 2 : monthFromMarch - 10;
  const year = yearOfEra + era * 400 + (month < 2 ? 1 : 0);
  const time = `${pad(Math.floor(rest / 3600))}:${pad(Math.floor(rest / 60) % 60)}:${pad(rest % 60)}`;
  const weekday = DAYS[(((days + 4) % 7) + 7) % 7];
  return `${weekday}, ${pad(day)} ${MONTHS[month]} ${String(year).padStart(4, '0')} ${time} GMT`;
}

/** Seconds since 1970 of a date in any of the three forms, `NO_DATE` for anything else and for years before 1970. */
export function parseHttpDate(bytes: Bytes, at: number, length: number): number {
  if (length === IMF_BYTES && u8(bytes, at + 3) === COMMA) {
    if (!isSeparated(bytes, at + 5, SPACE) || !equalBytes(bytes, at + 25, GMT)) return NO_DATE;
    return toSeconds(number4(bytes, at + 12), monthAt(bytes, at + 8), number2(bytes, at + 5), timeAt(bytes, at + 17));
  }
  if (length === ASCTIME_BYTES && u8(bytes, at + 3) === SPACE) {
    const day = u8(bytes, at + 8) === SPACE ? number2(bytes, at + 9, 1) : number2(bytes, at + 8);
    if (u8(bytes, at + 7) !== SPACE || u8(bytes, at + 10) !== SPACE || u8(bytes, at + 19) !== SPACE) return NO_DATE;
    return toSeconds(number4(bytes, at + 20), monthAt(bytes, at + 4), day, timeAt(bytes, at + 11));
  }
  const tail = at + length - RFC850_TAIL_BYTES;
  if (tail < at + 6 || tail > at + 9 || u8(bytes, tail) !== COMMA || !isSeparated(bytes, tail + 2, DASH))
    return NO_DATE;
  if (!equalBytes(bytes, tail + 20, GMT)) return NO_DATE;
  const short = number2(bytes, tail + 9);
  // Two digits cannot lie before 1970 here.
  const year = short < 0 ? -1 : short + (short < 70 ? 2000 : 1900);
  return toSeconds(year, monthAt(bytes, tail + 5), number2(bytes, tail + 2), timeAt(bytes, tail + 12));
}

/** Day, separator, month, separator: `06 Nov ` or `06-Nov-`. */
function isSeparated(bytes: Bytes, at: number, separator: number): boolean {
  return u8(bytes, at - 1) === SPACE && u8(bytes, at + 2) === separator && u8(bytes, at + 6) === separator;
}

/** Two digits, or one: -1 when they are none. */
function number2(bytes: Bytes, at: number, digits = 2): number {
  let value = 0;
  for (let p = at; p < at + digits; p++) {
    if (!isDigit(u8(bytes, p))) return -1;
    value = value * 10 + u8(bytes, p) - ZERO;
  }
  return value;
}

function number4(bytes: Bytes, at: number): number {
  return number2(bytes, at, 4);
}

/** 0 to 11, or -1. */
function monthAt(bytes: Bytes, at: number): number {
  for (let month = 0; month < 12; month++) {
    const name = MONTH_BYTES[month];
    if (name !== undefined && equalBytes(bytes, at, name)) return month;
  }
  return -1;
}

/** Seconds of the day at `hh:mm:ss`, preceded by a space; -1 when it is no time. A leap second is let pass. */
function timeAt(bytes: Bytes, at: number): number {
  const hour = number2(bytes, at);
  const minute = number2(bytes, at + 3);
  const second = number2(bytes, at + 6);
  if (u8(bytes, at - 1) !== SPACE && u8(bytes, at - 1) !== DASH) return -1;
  if (u8(bytes, at + 2) !== COLON || u8(bytes, at + 5) !== COLON) return -1;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return -1;
  return hour * 3600 + minute * 60 + second;
}

function toSeconds(year: number, month: number, day: number, time: number): number {
  if (year < 1970 || month < 0 || day < 1 || day > daysOfMonth(year, month) || time < 0) return NO_DATE;
  const shiftedYear = month < 2 ? year - 1 : year;
  const era = Math.floor(shiftedYear / 400);
  const yearOfEra = shiftedYear - era * 400;
  const monthFromMarch = month < 2 ? month + 10 : month - 2;
  const dayOfYear = Math.floor((153 * monthFromMarch + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return (era * 146_097 + dayOfEra - 719_468) * DAY_SECONDS + time;
}

function daysOfMonth(year: number, month: number): number {
  if (month === 1) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 3 || month === 5 || month === 8 || month === 10 ? 30 : 31;
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
