from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.options import ChipOptions
from casemate.wire.protocol.runtime_lock import RuntimePart
from casemate.wire.protocol.sandbox_layers import LayerMode, LayerName, LayerRequest
from casemate.wire.snp.tcb import Product


@given(state=st.binary(max_size=100), seed=st.none() | st.text(max_size=50))
def test_second_stage_hears_what_the_first_says(state: bytes, seed: str | None) -> None:
    told = ChipOptions(
        state=state,
        seed=seed,
        host_fd=3,
        supervisor_fd=4,
        layers=(LayerRequest(LayerName.SECCOMP, LayerMode.REQUIRE),),
        pool=1,
        runtime=b"/r",
        runtime_parts=(RuntimePart("core", bytes(32)),),
        runtime_rebuilt=True,
        runtime_lock=5,
        python=b"/p",
        snp_product=Product.TURIN,
        snp_report=5,
        accept_loss=None if seed is None else "lost",
    )
    assert ChipOptions.from_word(told.to_word()) == told
    assert told.copy.rebuilt
