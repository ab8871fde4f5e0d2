use super::*;

#[test]
fn a_loop_around_ps() {
    let text = parse(
        b"at Jan 20 15:54:12 CST 2018\nD      958    958    957 nginx\nR     11908  11908  18870 ps\n\
        Sat Jan 20 15:54:12 CST 2018\n25.76 20.60 19.00 12/404 11912\n",
    );
    let [block] = text.blocks.as_slice() else { panic!("{text:?}") };
    assert_eq!((block.source, block.tasks.len(), block.stamp.clock), (Source::Ps, 2, 57_252.0));
    assert_eq!(block.stamp.date, Some(Date { year: 2018, month: 1, day: 20 }));
}
