import torch
from torch import nn

from spkssl.nn.distillation import Branch, StudentTeacher, encode_views


class Encoder(nn.Module):
    """(R, T, F) -> (R, D); notes how many rows came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.passes = nn.Linear(4, 3), nn.BatchNorm1d(3), []

    def forward(self, x):
        self.passes.append(len(x))
        return self.norm(self.linear(x.mean(1)))


def test_crops_of_one_kind_go_in_one_pass_and_come_back_by_view():
    encoder = Encoder().eval()
    views = torch.randn(5, 2, 7, 4)  # (B, n, T, F)
    out = encode_views(encoder, views)
    assert out.shape == (2, 5, 3) and encoder.passes == [10]
    for n in range(2):
        torch.testing.assert_close(out[n], encoder(views[:, n]))


def test_kinds_of_views_stand_in_the_order_given_each_in_its_own_pass():
    branch = Branch(Encoder().eval(), nn.Identity())
    long, short = torch.randn(5, 2, 9, 4), torch.randn(5, 3, 4, 4)
    out = branch([long, short])
    assert out.shape == (5, 5, 3) and branch.encoder.passes == [10, 15]
    torch.testing.assert_close(out[3], branch.encoder(short[:, 1]))


def pair() -> StudentTeacher:
    torch.manual_seed(0)
    return StudentTeacher(Encoder(), nn.Linear(3, 2))


def test_the_teacher_starts_equal_takes_no_gradient_and_shares_nothing():
    both = pair()
    for student, teacher in zip(both.student.parameters(), both.teacher.parameters(), strict=True):
        assert torch.equal(student, teacher) and student.data_ptr() != teacher.data_ptr()
        assert student.requires_grad and not teacher.requires_grad
    assert not both.teacher([torch.randn(5, 2, 7, 4)]).requires_grad


def move(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)


def test_momentum_0_copies_the_student_and_momentum_1_freezes_the_teacher():
    both = pair()
    before = [p.clone() for p in both.teacher.parameters()]
    move(both.student)
    both.follow(1.0)
    assert all(torch.equal(p, old) for p, old in zip(both.teacher.parameters(), before, strict=True))
    both.follow(0.0)
    assert all(torch.equal(p, q) for p, q in zip(both.teacher.parameters(), both.student.parameters(), strict=True))


def test_the_teacher_keeps_its_own_batchnorm_statistics():
    both = pair()
    both.student([torch.randn(5, 2, 7, 4)])
    both.follow(0.0)
    assert int(both.student.encoder.norm.num_batches_tracked) == 1
    assert int(both.teacher.encoder.norm.num_batches_tracked) == 0
    both.teacher([3 + torch.randn(5, 2, 7, 4)])
    assert not torch.equal(both.teacher.encoder.norm.running_mean, both.student.encoder.norm.running_mean)
