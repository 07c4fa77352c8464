//! strftime for chat templates (`strftime_now`): Python's format codes in the C locale. The time zone is the system's
//! where the clock is used, and UTC where the caller fixes the time.

use std::os::raw::{c_char, c_int, c_long};

/// A broken-down time.
#[derive(Clone, Copy)]
pub struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    microsecond: i64,
    weekday: i64,  // 0 is Sunday
    year_day: i64, // 0 is January 1st
}

/// The C library's struct tm, as glibc and musl lay it out.
#[repr(C)]
struct Tm {
    sec: c_int,
    min: c_int,
    hour: c_int,
    mday: c_int,
    mon: c_int,
    year: c_int,
    wday: c_int,
    yday: c_int,
    isdst: c_int,
    gmtoff: c_long,
    zone: *const c_char,
}

extern "C" {
    fn localtime_r(time: *const i64, out: *mut Tm) -> *mut Tm;
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

impl Moment {
    /// `seconds` since 1970 in UTC (Howard Hinnant's civil-from-days).
    pub fn utc(seconds: i64) -> Moment {
        let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799); // the years 1 to 9999
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
        Moment {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            microsecond: 0,
            weekday: (days + 4).rem_euclid(7),
            year_day: before + day - 1 + i64::from(month > 2 && is_leap(year)),
        }
    }

    pub fn now_local() -> Moment {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seconds = now.as_secs() as i64;
        let mut tm = std::mem::MaybeUninit::<Tm>::zeroed();
        // SAFETY: both pointers are valid, and a zeroed Tm is a valid one.
        let tm = unsafe {
            if localtime_r(&seconds, tm.as_mut_ptr()).is_null() {
                return Moment::utc(seconds);
            }
            tm.assume_init()
        };
        Moment {
            year: i64::from(tm.year) + 1900,
            month: i64::from(tm.mon) + 1,
            day: i64::from(tm.mday),
            hour: i64::from(tm.hour),
            minute: i64::from(tm.min),
            second: i64::from(tm.sec),
            microsecond: i64::from(now.subsec_micros()),
            weekday: i64::from(tm.wday),
            year_day: i64::from(tm.yday),
        }
    }

    pub fn format(&self, format: &str) -> String {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('-') => match chars.next() {
                    Some(code) => out.push_str(self.code(code).trim_start_matches(['0', ' ']).if_empty("0")),
                    None => out.push_str("%-"),
                },
                Some(code) => out.push_str(&self.code(code)),
                None => out.push('%'),
            }
        }
        out
    }

    fn iso_week(&self) -> (i64, i64) {
        let monday_based = (self.weekday + 6) % 7;
        let week = (self.year_day - monday_based + 10) / 7;
        let weeks_in = |year: i64| {
            let p = |y: i64| (y + y / 4 - y / 100 + y / 400) % 7;
            52 + i64::from(p(year) == 4 || p(year - 1) == 3)
        };
        if week < 1 {
            (self.year - 1, weeks_in(self.year - 1))
        } else if week > weeks_in(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }

    fn code(&self, code: char) -> String {
        const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        const MONTHS: [&str; 12] = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
            "December",
        ];
        let day_name = DAYS[self.weekday.rem_euclid(7) as usize];
        let month_name = MONTHS[(self.month - 1).clamp(0, 11) as usize];
        let twelve = (self.hour + 11) % 12 + 1;
        match code {
            'a' => day_name[..3].into(),
            'A' => day_name.into(),
            'b' | 'h' => month_name[..3].into(),
            'B' => month_name.into(),
            'c' => self.format("%a %b %e %H:%M:%S %Y"),
            'C' => format!("{:02}", self.year / 100),
            'd' => format!("{:02}", self.day),
            'D' | 'x' => self.format("%m/%d/%y"),
            'e' => format!("{:2}", self.day),
            'f' => format!("{:06}", self.microsecond),
            'F' => self.format("%Y-%m-%d"),
            'g' => format!("{:02}", self.iso_week().0 % 100),
            'G' => self.iso_week().0.to_string(),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{twelve:02}"),
            'j' => format!("{:03}", self.year_day + 1),
            'k' => format!("{:2}", self.hour),
            'l' => format!("{twelve:2}"),
            'm' => format!("{:02}", self.month),
            'M' => format!("{:02}", self.minute),
            'n' => "\n".into(),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.into(),
            'P' => if self.hour < 12 { "am" } else { "pm" }.into(),
            'r' => self.format("%I:%M:%S %p"),
            'R' => self.format("%H:%M"),
            'S' => format!("{:02}", self.second),
            't' => "\t".into(),
            'T' | 'X' => self.format("%H:%M:%S"),
            'u' => ((self.weekday + 6) % 7 + 1).to_string(),
            'U' => format!("{:02}", (self.year_day + 7 - self.weekday) / 7),
            'V' => format!("{:02}", self.iso_week().1),
            'w' => self.weekday.to_string(),
            'W' => format!("{:02}", (self.year_day + 7 - (self.weekday + 6) % 7) / 7),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'Y' => self.year.to_string(),
            'z' | 'Z' => String::new(), // datetime.now() has no zone
            '%' => "%".into(),
            other => format!("%{other}"),
        }
    }
}

trait IfEmpty {
    fn if_empty<'a>(&'a self, other: &'a str) -> &'a str;
}

impl IfEmpty for str {
    fn if_empty<'a>(&'a self, other: &'a str) -> &'a str {
        if self.is_empty() {
            other
        } else {
            self
        }
    }
}
