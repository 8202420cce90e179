use super::{Course, Race};
use crate::engine::{Completion, Op, Operation};
use crate::error::Result;
use crate::workload::shared::finding::Finding;

pub(super) const RACE: Race = Race {
    name: "read-past-end",
    story: "direct reads of the last, partial block and just behind it (generic/210, 450)",
    proven: "reads ended where the file ends",
    on_request: false,
    run,
};

fn run(course: &mut Course<'_>) -> Result<()> {
    let unit = course.unit();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let pool = course.pool(3)?;
    let mut queue = course.queue(direct, &pool, 3)?;
    let mut free = pool.buffers;
    while course.next() {
        let round = course.round;
        // From a byte behind a boundary to a byte before the next.
        let tail = 1 + round as usize * 37 % (unit - 1);
        let bytes = 2 * unit + tail;
        course.resize(&buffered, 0)?;
        course.fill(&buffered, bytes, round)?;
        for index in 2..5 {
            let Some(mut buffer) = free.pop() else { break };
            buffer.fill(0x5a);
            queue.push(Operation {
                op: Op::Read,
                file: 0,
                offset: (index * unit) as u64,
                bytes: unit,
                buffer,
                generation: 0,
                user_data: (),
            });
        }
        // Nothing runs beside: each round is the case itself.
        course.outcome.overlaps += 1;
        let mut done = Vec::new();
        queue.wait(usize::MAX, &mut done)?;
        for Completion { offset, buffer, result, .. } in done {
            let right = bytes.saturating_sub(offset as usize).min(unit);
            match result {
                Ok(got) if got == right => {
                    course.check("wrong-data", offset as usize, &buffer[..got], &[round], "the file's last bytes");
                }
                Ok(got) => {
                    course.found("read-past-end", offset, unit, format!("{got} bytes where the file has {right} more"));
                }
                Err(errno) => {
                    let finding = Finding::new("read-error", offset, unit as u64, "at the file's end");
                    course.outcome.findings.add(finding.round(round).errno(errno));
                }
            }
            free.push(buffer);
        }
    }
    Ok(())
}
