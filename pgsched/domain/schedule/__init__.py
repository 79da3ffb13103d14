"""Schedules: pure rules from one instant to the next. They never wait, never run anything, never read a clock."""

from pgsched.domain.schedule.cron import Cron
from pgsched.domain.schedule.daily import Daily
from pgsched.domain.schedule.every import Every
from pgsched.domain.schedule.schedule import Schedule, coming_times
from pgsched.domain.schedule.text import parse_schedule, schedule_text

__all__ = ["Cron", "Daily", "Every", "Schedule", "coming_times", "parse_schedule", "schedule_text"]
