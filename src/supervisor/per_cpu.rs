//! A value that each CPU may have.

use crate::machine::CpuId;

/// At most one value for each CPU; none at first.
#[derive(Clone, Debug)]
pub(crate) struct PerCpu<T> {
    values: Vec<Option<T>>,
}

impl<T> Default for PerCpu<T> {
    fn default() -> PerCpu<T> {
        PerCpu { values: Vec::new() }
    }
}

impl<T: Copy> PerCpu<T> {
    /// The value of `cpu`.
    pub(crate) fn get(&self, cpu: CpuId) -> Option<T> {
        self.values.get(cpu.index()).copied().flatten()
    }

    /// Gives `cpu` a value, or takes it away.
    pub(crate) fn set(&mut self, cpu: CpuId, value: Option<T>) {
        let index = cpu.index();
        if index >= self.values.len() {
            if value.is_none() {
                return;
            }
            self.values.resize(index + 1, None);
        }
        self.values[index] = value;
    }

    /// Takes the value of `cpu` away and returns it.
    pub(crate) fn take(&mut self, cpu: CpuId) -> Option<T> {
        self.values.get_mut(cpu.index()).and_then(Option::take)
    }

    /// Takes all values away.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_has_its_own_value() {
        let (first, third) = (CpuId::BOOT, CpuId::new(2));
        let mut values = PerCpu::default();
        assert_eq!(values.get(third), None);
        values.set(third, None);
        values.set(third, Some(7));
        assert_eq!((values.get(first), values.get(third)), (None, Some(7)));
        values.set(first, Some(5));
        assert_eq!(values.take(third), Some(7));
        assert_eq!((values.get(first), values.get(third)), (Some(5), None));
        assert_eq!(values.take(CpuId::new(63)), None);
        values.clear();
        assert_eq!(values.get(first), None);
    }
}
